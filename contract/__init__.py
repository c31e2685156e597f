"""What the producer, the worker and the consumer agree on: the frame and the result message.

`contract.message` is a module of its own because it needs pydantic, which takes too much memory for a record processor.
"""

from contract.errors import FrameError
from contract.frame import Frame, Metadata, embed
from contract.identity import Identity, Position, identify

__all__ = ["Frame", "FrameError", "Identity", "Metadata", "Position", "embed", "identify"]
