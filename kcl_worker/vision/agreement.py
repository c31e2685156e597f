"""How far other precisions agree with fp32, as it was recorded when a model was made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from kcl_worker.errors import ModelError
from kcl_worker.vision.export import files_of, listed_hashes

# A record of a thousand detections takes 1 KB.
MAX_RECORD: Final = 100_000
# The most detections that may be missing, and the most that may be new. What `make quantise` makes of the street
# camera and of the drawings misses and adds less than one in a hundred, and costs less than a point of mAP50-95
# (tests/system/test_quantise.py); int8 of too few frames lost one in ten (docs/performance.md).
MOST_CHANGED: Final = 0.05
# Mean overlap with fp32's boxes; bf16's is 0.997 and int8's 0.987 (docs/performance.md).
LEAST_IOU: Final = 0.9
# Where all of n are found again, at most 3/n are missing with 95 % confidence (the rule of three, Hanley and
# Lippman-Hand, JAMA 249:1743, 1983): fewer than these say nothing about one in twenty.
LEAST_DETECTIONS: Final = 60

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the detections of one precision compare with those of fp32, at the same confidence threshold.

    Attributes:
        detections: The number of detections of fp32.
        found: The number that was found again: the same class, boxes that overlap by at least half.
        more: The number of detections that fp32 does not have.
        iou: Mean IoU of the boxes that were found again.
        confidence: Mean and greatest difference of their confidence values.
    """

    precision: Literal["fp32", "bf16", "int8"]
    detections: Count
    found: Count
    more: Count
    iou: Share
    confidence: tuple[Share, Share]

    def objection(self) -> str:
        """Why it is not good enough to be taken unasked; empty if it is."""
        if self.detections < LEAST_DETECTIONS:
            return f"its agreement was recorded on {self.detections} detections; {LEAST_DETECTIONS} are needed"
        missing = self.detections - self.found
        if max(missing, self.more) > MOST_CHANGED * self.detections:
            return (
                f"it misses {missing / self.detections:.1%} of fp32's detections and has "
                f"{self.more / self.detections:.1%} more; {MOST_CHANGED:.0%} may be"
            )
        if self.iou < LEAST_IOU:
            return f"its boxes overlap fp32's by {self.iou:.3f}; {LEAST_IOU} is needed"
        return ""


@dataclass(frozen=True, slots=True)
class Record:
    """What was found when precisions were compared, and on which files.

    Attributes:
        files: SHA-256 by name, of the export and of what was quantised from it.
        frames: The number of frames that were compared.
        threshold: The confidence threshold of the comparison.
    """

    files: dict[str, str]
    frames: Count
    threshold: Share
    agreements: tuple[Agreement, ...]

    def write(self, exported: Path) -> Path:
        """Writes the record beside an export."""
        path = beside(exported)
        path.write_bytes(_RECORDS.dump_json(self, indent=2) + b"\n")
        return path

    def of(self, precision: str, models: Iterable[Path]) -> Agreement:
        """What was recorded of a precision, for these very files.

        Raises:
            ModelError: If nothing was, or the files are others.
        """
        found = next((one for one in self.agreements if one.precision == precision), None)
        if found is None:
            raise ModelError("its agreement with fp32 was not recorded")
        for model in models:
            for name, digest in hashes(model).items():
                if self.files.get(name) != digest:
                    raise ModelError(f"its agreement was recorded of another {name}")
        return found


_RECORDS: Final = TypeAdapter(Record)


def beside(exported: Path) -> Path:
    """Where the record of an export lies."""
    return exported.with_name(f"{exported.stem}.agreement.json")


def read(exported: Path) -> Record:
    """Reads the record of an export.

    Raises:
        ModelError: If there is none, or it is not one.
    """
    path = beside(exported)
    try:
        with path.open("rb") as file:
            return _RECORDS.validate_json(file.read(MAX_RECORD))
    except OSError:
        raise ModelError(f"there is no {path.name}, which `make quantise` writes") from None
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "its text"
        raise ModelError(f"{path.name}: {where}: {problem['msg']}") from None


def hashes(model: Path) -> dict[str, str]:
    """SHA-256 of a model's files by name; those in the list beside it, which is checked when the model is read."""
    files = files_of(model)
    listed = listed_hashes(files[0])
    return {file.name: listed.get(file.name) or hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
