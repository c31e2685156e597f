"""YOLOv8 on OpenVINO."""

from __future__ import annotations

import ast
import hashlib
import logging
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Final, Literal

import numpy as np
import openvino as ov
from openvino.preprocess import ColorFormat, PrePostProcessor

from kcl_worker.errors import ModelError
from kcl_worker.vision import box_head as head
from kcl_worker.vision import nms
from kcl_worker.vision.box_head import Floats
from kcl_worker.vision.cpu import thread_count
from kcl_worker.vision.detections import Detections, Image
from kcl_worker.vision.detector import Detector
from kcl_worker.vision.letterbox import Letterbox

logger = logging.getLogger(__name__)

Precision = Literal["fp32", "bf16", "int8"]

# The task, by ultralytics' metadata, whose models give boxes alone.
DETECTION: Final = "detect"
# Limits of the result message.
MAX_NAME: Final = 128

# The network is compiled for each letterboxed shape. Cameras have few shapes; this bounds the memory that
# hostile frames of ever new shapes can take.
MAX_COMPILED_SHAPES: Final = 4


class OpenVinoDetector(Detector):
    """Runs an ONNX export of YOLOv8 (n, s, m, l, x) with a dynamic size on the CPU.

    Decoded uint8 frames go straight into the graph, which normalises them and swaps their channels. Boxes are
    computed for candidates only; see `box_head`.

    Args:
        model_path: The ONNX file, with the class names and stride that ultralytics writes into it, or what
            `models.quantise` made of it. Where `NAME.onnx.sha256` stands beside it, in the form of `sha256sum`,
            its hash is checked.
        precision: The arithmetic: `bf16` computes in bfloat16 where the processor supports it; `int8` is for a model
            that was quantised (bfloat16 for its other parts gains nothing). Boxes of candidates are always fp32.
        confidence_threshold, max_detections: Which detections of an image are kept.
        image_size: The network's longer side, in pixels.
        square: Whether to pad to a square instead of to the next multiple of the stride.

    Raises:
        ModelError: If the file is missing, is not such a model, or is not the file that was exported.
    """

    def __init__(
        self,
        model_path: Path,
        *,
        confidence_threshold: float = 0.5,
        max_detections: int = 100,
        image_size: int = 640,
        square: bool = False,
        precision: Precision = "fp32",
    ) -> None:
        self.name = model_path.stem if precision != "bf16" else f"{model_path.stem}-bf16"
        self.parallelism = thread_count()
        self._image_size, self._square = image_size, square
        self._confidence_threshold, self._max_detections = confidence_threshold, max_detections
        self._core = ov.Core()
        # The first tensor initialises OpenVINO's binding. Two threads making it at once would deadlock: one holds the
        # interpreter's lock, the other the lock of a static variable (openvino 2026.4).
        ov.Tensor(np.zeros(1, np.uint8), shared_memory=True)
        self._type = _bf16_if_native(self._core) if precision == "bf16" else "f32"
        _check_hash(model_path)
        try:
            model = self._core.read_model(model_path)
            _check_task(model)
            names = model.get_rt_info(["framework", "names"]).value
            self._stride = int(model.get_rt_info(["framework", "stride"]).value)
            scores, branches = head.split(model)
            self.class_names = _class_names(names, scores.output(0).partial_shape[1].get_length())
            _check_name("the file's name", self.name)
            self._model = _with_preprocessing(scores)
            self._branches = [self._compile(branch, "f32") for branch in branches]
        except (RuntimeError, ValueError, SyntaxError, KeyError, TypeError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise ModelError(f"{model_path}: not an ultralytics export of YOLOv8 detection: {reason}") from None
        self._compiled: OrderedDict[tuple[int, int], ov.CompiledModel] = OrderedDict()
        self._compiling = threading.Lock()
        self._local = threading.local()

    def warm_up(self, height: int = 720, width: int = 1280) -> None:
        """Compiles the network for a camera's shape and runs it once."""
        self.detect(np.zeros((height, width, 3), np.uint8))

    def detect(self, image: Image, confidence_threshold: float | None = None) -> Detections:
        """Runs one image. A network that is compiled for one image runs as fast as one for batches of two, and eight
        percent faster than one for batches of any size, which copies where the former works in place."""
        height, width = image.shape[:2]
        box = Letterbox.fit(height, width, self._image_size, self._stride, square=self._square)
        canvas = np.empty((1, *box.shape, 3), np.uint8)
        box.place(image, canvas[0])
        logits, maps = self._infer(canvas)
        threshold = self._confidence_threshold if confidence_threshold is None else confidence_threshold
        candidates = head.select(logits, threshold, nms.MAX_CANDIDATES)
        if not len(candidates.cell):
            return Detections.empty()
        xyxy = self._box_head().boxes(candidates.cell, maps, box.shape)
        kept = nms.suppress(xyxy, candidates.class_id, self._max_detections)
        restored = box.restore(xyxy[kept], height, width)
        return Detections(restored, candidates.confidence[kept], candidates.class_id[kept])

    def _infer(self, canvas: Image) -> tuple[Floats, list[Floats]]:
        """Runs [1, height, width, 3]; the image's logits and feature maps are valid until this thread's next run."""
        _, height, width, _ = canvas.shape
        result = self._request((height, width)).infer({0: canvas}, share_inputs=True, share_outputs=True)
        logits, *maps = (np.asarray(result[number], np.float32)[0] for number in range(len(result)))
        return logits, maps

    def _box_head(self) -> head.BoxHead:
        """This thread's box head."""
        known: head.BoxHead | None = getattr(self._local, "head", None)
        if known is None:
            known = self._local.head = head.BoxHead(self._branches)
        return known

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


def _bf16_if_native(core: ov.Core) -> str:
    """bfloat16 if the processor computes in it; on others it would only be emulated."""
    if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return "bf16"
    logger.warning("this processor does not compute in bf16; fp32 is used")
    return "f32"


def _check_hash(path: Path) -> None:
    if not path.is_file():
        raise ModelError(f"{path}: no such model; `make model` exports one, `make quantise` makes it int8")
    beside = path.with_name(path.name + ".sha256")
    if beside.is_file():
        for line in beside.read_text().splitlines():
            expected, name = line.split(maxsplit=1)
            file = path.with_name(name)
            if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != expected:
                raise ModelError(f"{file}: missing, or its SHA-256 is not the one in {beside.name}; export it again")


def _class_names(text: str, classes: int) -> tuple[str, ...]:
    """Reads the names by class id, as ultralytics writes them: `{0: 'person', 1: 'bicycle'}`.

    Raises:
        ValueError: If they are not those of so many classes, or no consumer would take them.
    """
    names = ast.literal_eval(text)
    if not isinstance(names, dict) or sorted(names) != list(range(classes)):
        raise ValueError(f"its metadata names {len(names)} classes, its network has {classes}, from 0 on")
    for number, name in names.items():
        _check_name(f"class {number}", str(name))
    return tuple(str(names[number]) for number in range(classes))


def _check_task(model: ov.Model) -> None:
    """Refuses what ultralytics exports for another task than detection, by its metadata.

    Raises:
        ValueError: Says which task.
    """
    if not model.has_rt_info(["framework", "names"]):
        raise ValueError("it has no metadata of ultralytics; export it with `make model WEIGHTS=file.pt`")
    if model.has_rt_info(["framework", "task"]):
        task = str(model.get_rt_info(["framework", "task"]).value)
        if task != DETECTION:
            raise ValueError(f"it was exported for the task {task[:40]!a}; only {DETECTION!a} gives boxes to send on")


def _check_name(what: str, name: str) -> None:
    # Whatever is not printable either has no place in an SQS message or misleads whoever reads it.
    if not (1 <= len(name) <= MAX_NAME and name.isprintable()):
        raise ValueError(f"{what}: {name[:40]!a}: 1 to {MAX_NAME} printable characters are allowed")


def _with_preprocessing(model: ov.Model) -> ov.Model:
    """Puts layout, channel order and scale of uint8 BGR frames into the graph."""
    steps = PrePostProcessor(model)
    frame = steps.input()
    frame.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_color_format(ColorFormat.BGR)
    frame.preprocess().convert_element_type(ov.Type.f32).convert_color(ColorFormat.RGB).scale([255.0] * 3)
    frame.model().set_layout(ov.Layout("NCHW"))
    return steps.build()
