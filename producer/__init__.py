"""Puts pictures on a Kinesis Data Stream: with `producer send …`, or from a program with `Producer`."""

from typing import TYPE_CHECKING, Any

from producer.errors import AccessError, ProducerError, SourceError, StreamError, UnreachableError

if TYPE_CHECKING:
    from producer.library import Producer

__all__ = ["AccessError", "Producer", "ProducerError", "SourceError", "StreamError", "UnreachableError"]


def __getattr__(name: str) -> Any:
    """Loads the SDK only for callers that send; the drawn street does not need it."""
    if name == "Producer":
        from producer.library import Producer

        return Producer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
