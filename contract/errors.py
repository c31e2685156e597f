"""Why a record is no frame."""

from __future__ import annotations

from typing import Final, Literal, get_args

Reason = Literal[
    "empty", "not_jpeg", "truncated", "too_many_bytes", "too_many_pixels", "too_large", "bad_metadata", "undecodable",
    "crashed"
]  # fmt: skip
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)


class FrameError(ValueError):
    """A record that is not a frame, with the reason by which it is filed in quarantine.

    Attributes:
        reason: One of `REASONS`.
        detail: One line for people: what was found and what is allowed.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason
        self.detail = detail
