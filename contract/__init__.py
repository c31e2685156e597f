"""What the producer, the worker and the consumer agree on: the frame and the result message.

`contract.message` stands apart because it needs pydantic, which a record processor has no memory for.
"""

from contract.frame import Frame, FrameError, Metadata, embed
from contract.identity import Identity, Position, identify

__all__ = ["Frame", "FrameError", "Identity", "Metadata", "Position", "embed", "identify"]
