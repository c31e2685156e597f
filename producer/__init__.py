"""Puts pictures on a Kinesis Data Stream: `producer send …`, or in a program `Producer`."""

from typing import TYPE_CHECKING, Any

from producer.errors import AccessError, ProducerError, SourceError, StreamError, UnreachableError

if TYPE_CHECKING:
    from producer.library import Producer

__all__ = ["AccessError", "Producer", "ProducerError", "SourceError", "StreamError", "UnreachableError"]


def __getattr__(name: str) -> Any:
    """Loads the SDK for those only that send; the drawn street needs none of it."""
    if name == "Producer":
        from producer.library import Producer

        return Producer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
