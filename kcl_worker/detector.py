"""The interface between the pipeline and whatever finds objects."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from kcl_worker.detections import Detections, Image


class Detector(ABC):
    """Finds objects in images.

    Attributes:
        name: Of the model, as it stands in the result message.
        class_names: By class id.
        parallelism: How many threads may call `detect` at once to the detector's advantage.
    """

    name: str
    class_names: tuple[str, ...]
    parallelism: int

    @abstractmethod
    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """Finds the objects in each image.

        Called from several threads at once, with one or more decoded images of any sizes. What is
        found in an image does not depend on the others of its batch.
        """
