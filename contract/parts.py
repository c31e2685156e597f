"""What the messages are made of: times, keys, fractions, and the base of them all."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from contract.frame import parse_time

SCHEMA_VERSION: Final = 1

# Kinesis gives the digits; KCL counts what the record held.
SequenceNumber = Annotated[
    str,
    Field(
        max_length=128,
        description="as Kinesis gives it; `.N` follows for the Nth frame after the first of an aggregated record",
        examples=["49600000000000000000000000000000000000000000000000000002", "4956.3"],
    ),
]
Fraction = Annotated[float, Field(ge=0, le=1)]
# What every reader of JSON holds exactly: RFC 8259, section 6.
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
# Python's `$` also matches before a final line break; JSON Schema's does not.
_END = r"$(?!\n)"


def _existing(time: str) -> str:
    parse_time(time)
    return time


Time = Annotated[
    str,
    AfterValidator(_existing),
    Field(
        pattern=rf"^\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{6}}Z{_END}",
        description="ISO 8601, UTC, microseconds",
        examples=["2026-01-01T00:00:00.000000Z"],
    ),
]
# Consumers make file names from keys, so no part of a key may be `.` or `..`.
_PART = r"(?!\.{1,2}/)[A-Za-z0-9._-]{1,128}/"
FrameKey = Annotated[str, Field(pattern=rf"^frames/(?:{_PART}){{1,4}}[A-Za-z0-9._-]{{1,220}}\.jpg{_END}")]
WholeKey = Annotated[str, Field(pattern=rf"^frames/(?:{_PART}){{1,4}}[A-Za-z0-9._-]{{1,220}}\.json{_END}")]
QuarantineKey = Annotated[str, Field(pattern=rf"^quarantine/(?:{_PART}){{1,4}}[A-Za-z0-9._-]{{1,220}}\.bin{_END}")]
_HOUR = r"\d{4}-\d\d-\d\d/\d\d/"
EventKey = Annotated[str, Field(pattern=rf"^events/{_HOUR}{_PART}[0-9a-f]{{16}}\.json{_END}")]
SnapshotKey = Annotated[str, Field(pattern=rf"^events/{_HOUR}{_PART}[0-9a-f]{{16}}\.jpg{_END}")]
Box = tuple[Fraction, Fraction, Fraction, Fraction]


def is_none(value: object) -> bool:
    """For fields that are left out where there is nothing to say."""
    return value is None


class Message(BaseModel):
    """A message, frozen, with its JSON."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, regex_engine="python-re", allow_inf_nan=False)

    def to_json(self) -> str:
        """The body of the SQS message."""
        return self.model_dump_json(by_alias=True)
