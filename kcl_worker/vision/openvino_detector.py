"""YOLO on OpenVINO."""

from __future__ import annotations

import logging
import math
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Final, Literal

import numpy as np
import openvino as ov
from openvino.preprocess import ColorFormat, PrePostProcessor

from kcl_worker.errors import ModelError
from kcl_worker.vision.cpu import thread_count
from kcl_worker.vision.detections import Detections, Image
from kcl_worker.vision.detector import Detector
from kcl_worker.vision.export import Export, check_name, refusal
from kcl_worker.vision.head import Floats
from kcl_worker.vision.heads import head_of
from kcl_worker.vision.letterbox import Letterbox

logger = logging.getLogger(__name__)

Precision = Literal["fp32", "bf16", "int8"]

# The network is compiled for each letterboxed shape. Cameras have few shapes; this bounds the memory that
# hostile frames of ever new shapes can take.
MAX_COMPILED_SHAPES: Final = 4


class OpenVinoDetector(Detector):
    """Runs ultralytics' exports of detection models on the CPU.

    Decoded uint8 frames go straight into the graph, which normalises them and swaps their channels. Boxes of YOLOv8
    and its kin are computed for candidates only; see `box_head`.

    Args:
        model_path: The ONNX file, with the metadata that ultralytics writes into it, a folder of ultralytics' OpenVINO
            export, or what `models.quantise` made of one. Where `NAME.onnx.sha256` stands beside it, in the form of
            `sha256sum`, its hash is checked.
        precision: The arithmetic: `bf16` computes in bfloat16 where the processor supports it; `int8` is for a model
            that was quantised (bfloat16 for its other parts gains nothing). Boxes of candidates are always fp32.
        confidence_threshold, max_detections: Which detections of an image are kept.
        image_size: The network's longer side, in pixels; None takes the size that the model was exported for.
        square: Whether to pad to the whole size instead of to the next multiple of the stride.

    Raises:
        ModelError: If the file is missing, is not such a model, or is not the file that was exported.
    """

    def __init__(
        self,
        model_path: Path,
        *,
        confidence_threshold: float = 0.5,
        max_detections: int = 100,
        image_size: int | None = None,
        square: bool = False,
        precision: Precision = "fp32",
    ) -> None:
        self.parallelism = thread_count()
        self._confidence_threshold, self.max_detections = confidence_threshold, max_detections
        self._core = ov.Core()
        # The first tensor initialises OpenVINO's binding. Two threads making it at once would deadlock: one holds the
        # interpreter's lock, the other the lock of a static variable (openvino 2026.4).
        ov.Tensor(np.zeros(1, np.uint8), shared_memory=True)
        self._type = "f32"
        if precision == "bf16":
            if computes_bf16(self._core):
                self._type = "bf16"
            else:
                logger.warning("this processor does not compute in bf16; fp32 is used")
        export = Export.read(model_path)
        try:
            self._size, self._stride = export.choose_size(image_size), export.stride
        except ValueError as error:
            raise ModelError(f"{model_path}: {error}") from None
        try:
            self.name = export.name if precision != "bf16" else f"{export.name}-bf16"
            check_name("the file's name", self.name)
            self._head = head_of(export, lambda part: self._compile(part, "f32"))
            self.class_names = export.class_names(self._head.classes)
            self._model = _with_preprocessing(self._head.network)
        except (RuntimeError, ValueError) as error:
            raise refusal(model_path, error) from None
        if self._head.notice:
            logger.warning("%s runs as the whole network: %s", self.name, self._head.notice)
        self._whole = square or export.fixed
        self._compiled: OrderedDict[tuple[int, int], ov.CompiledModel] = OrderedDict()
        self._compiling = threading.Lock()
        self._local = threading.local()
        if self._head.least_area:
            self._check_size(model_path)

    def warm_up(self, height: int = 720, width: int = 1280) -> None:
        """Compiles the network for a camera's shape and runs it once."""
        self.detect(np.zeros((height, width, 3), np.uint8))

    def detect(
        self, image: Image, confidence_threshold: float | None = None, max_detections: int | None = None
    ) -> Detections:
        """Runs one image. A network that is compiled for one image runs as fast as one for batches of two, and eight
        percent faster than one for batches of any size, which copies where the former works in place."""
        height, width = image.shape[:2]
        box = self._letterbox(height, width)
        canvas = np.empty((1, *box.shape, 3), np.uint8)
        box.place(image, canvas[0])
        threshold = self._confidence_threshold if confidence_threshold is None else confidence_threshold
        found = self._head.find(self._infer(canvas), box.shape, threshold, max_detections or self.max_detections)
        return Detections(box.restore(found.xyxy, height, width), found.confidence, found.class_id)

    def _check_size(self, model_path: Path) -> None:
        """Refuses a size at which the network cannot run; then no picture is too small."""
        height, width = self._size
        try:
            self._network(self._size)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ModelError(
                f"{model_path}: image size {width}x{height}: it cannot run at this size: {reason}"
            ) from None

    def _letterbox(self, height: int, width: int) -> Letterbox:
        box = Letterbox.fit(height, width, self._size, self._stride, square=self._whole)
        if math.prod(box.shape) < self._head.least_area:
            return Letterbox.fit(height, width, self._size, self._stride, square=True)
        return box

    def _infer(self, canvas: Image) -> list[Floats]:
        """Runs [1, height, width, 3]; the image's outputs are valid until this thread's next run."""
        _, height, width, _ = canvas.shape
        result = self._request((height, width)).infer({0: canvas}, share_inputs=True, share_outputs=True)
        return [np.asarray(result[number], np.float32)[0] for number in range(len(result))]

    def _request(self, shape: tuple[int, int]) -> ov.InferRequest:
        """This thread's request for a shape's network; requests of networks that were dropped are dropped too."""
        compiled = self._network(shape)
        requests: OrderedDict[tuple[int, int], tuple[ov.CompiledModel, ov.InferRequest]]
        requests = self._local.__dict__.setdefault("requests", OrderedDict())
        known = requests.get(shape)
        if known is None or known[0] is not compiled:
            if known is None and len(requests) == MAX_COMPILED_SHAPES:
                requests.popitem(last=False)
            known = requests[shape] = compiled, compiled.create_infer_request()
        requests.move_to_end(shape)
        return known[1]

    def _network(self, shape: tuple[int, int]) -> ov.CompiledModel:
        with self._compiling:
            compiled = self._compiled.get(shape)
            if compiled is None:
                if len(self._compiled) == MAX_COMPILED_SHAPES:
                    self._compiled.popitem(last=False)
                self._model.reshape([1, *shape, 3])
                compiled = self._compile(self._model, self._type)
                self._compiled[shape] = compiled
            self._compiled.move_to_end(shape)
            return compiled

    def _compile(self, model: ov.Model, arithmetic: str) -> ov.CompiledModel:
        settings = {
            "INFERENCE_PRECISION_HINT": arithmetic,
            "INFERENCE_NUM_THREADS": self.parallelism,
            "NUM_STREAMS": self.parallelism,
        }
        return self._core.compile_model(model, "CPU", settings)


def computes_bf16(core: ov.Core) -> bool:
    """Whether the processor computes in bfloat16; on others it would only be emulated, at a quarter of fp32's speed."""
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _with_preprocessing(model: ov.Model) -> ov.Model:
    """Puts layout, channel order and scale of uint8 BGR frames into the graph."""
    steps = PrePostProcessor(model)
    frame = steps.input()
    frame.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_color_format(ColorFormat.BGR)
    frame.preprocess().convert_element_type(ov.Type.f32).convert_color(ColorFormat.RGB).scale([255.0] * 3)
    frame.model().set_layout(ov.Layout("NCHW"))
    return steps.build()
