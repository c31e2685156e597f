"""The interface between a network and the detector that runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from kcl_worker.vision.detections import Detections

Floats = NDArray[np.float32]
Compile = Callable[[ov.Model], ov.CompiledModel]
"""Compiles a part of a network, to be computed in fp32."""


class Head(ABC):
    """Finds detections in what a network gives for one image; several threads may ask it at once.

    Attributes:
        network: What has to be run on the image: its input is [N, 3, H, W].
        classes: The number of classes.
        notice: What an operator should know of a model with this head; may be empty.
        least_area: The number of pixels that the network's input must have at the least.
    """

    network: ov.Model
    classes: int
    notice: str = ""
    least_area: int = 0

    @abstractmethod
    def find(self, outputs: list[Floats], shape: tuple[int, int], threshold: float, limit: int) -> Detections:
        """Finds at most `limit` objects, most confident first, their boxes in pixels of the network's input.

        Args:
            outputs: All outputs of `network` for one image, without their first dimension.
            shape: Height and width of the input.
            threshold: An object's confidence must be above this.
        """
