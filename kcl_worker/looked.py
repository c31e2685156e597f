"""A frame on its way through the worker, once it was looked at, or it was decided that nobody does."""

from __future__ import annotations

from dataclasses import dataclass

from contract import Frame, Identity
from contract.source_settings import SourceSettings
from kcl_worker.pacing import Step
from kcl_worker.prefix import Entry
from kcl_worker.record import Record
from kcl_worker.storing.sinks import About
from kcl_worker.vision.compute import Picture


@dataclass(frozen=True, slots=True)
class Looked:
    """A frame before its turn, and in it.

    Attributes:
        picture: What was seen; of a frame at which nobody looks, nothing until its turn.
        entry: Its place among its shard's records.
        about: What is kept with its picture.
        stored: Whether its picture is stored.
        step: Its place between two looks; None where every frame is looked at.
    """

    record: Record
    entry: Entry
    identity: Identity
    frame: Frame
    picture: Picture
    wanted: SourceSettings
    about: About
    stored: bool
    step: Step | None = None
