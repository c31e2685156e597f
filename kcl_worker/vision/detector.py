"""The interface between the pipeline and whatever finds objects."""

from __future__ import annotations

from abc import ABC, abstractmethod

from kcl_worker.vision.detections import Detections, Image


class Detector(ABC):
    """Finds objects in images.

    Attributes:
        name: The model's name, as it stands in the result message.
        class_names: Names by class id.
        parallelism: How many concurrent calls of `detect` still make the detector faster.
        max_detections: How many detections of an image are kept, the most confident.
    """

    name: str
    class_names: tuple[str, ...]
    parallelism: int
    max_detections: int = 100

    @abstractmethod
    def detect(
        self, image: Image, confidence_threshold: float | None = None, max_detections: int | None = None
    ) -> Detections:
        """Finds the objects in a decoded image of any size; several threads may call it at once.

        Args:
            confidence_threshold, max_detections: Used instead of the detector's own.
        """
