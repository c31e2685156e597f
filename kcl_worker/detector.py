"""The interface between the pipeline and whatever finds objects."""

from __future__ import annotations

from abc import ABC, abstractmethod

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
    def detect(self, image: Image, confidence_threshold: float | None = None) -> Detections:
        """Finds the objects in a decoded image of any size; called from several threads at once.

        Args:
            confidence_threshold: Instead of the detector's own.
        """
