"""The bounds of an engine: the network alone in each runtime, and the machine's multiply-adds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from kcl_worker.vision.cpu import thread_count
from kcl_worker.vision.openvino_detector import _with_preprocessing
from kcl_worker.vision.precision import convolutions

SHAPE: Final = (384, 640)
# Rows and columns of the matrices whose product measures the machine: 2 * 1536³ operations on 9 MB.
MATRIX: Final = 1536
# Channels, height and width of the convolutions that measure it, like those of YOLOv8: 4.5 and 1.1 GFLOP.
CONVOLUTIONS: Final = ((128, 48, 80), (128, 24, 40))
LAYERS: Final = 4
# Runs by which the fastest form is found.
TRIALS: Final = 5


def raw_openvino(path: Path, arithmetic: str, frames: int) -> Callable[[], int]:
    """Runs only the whole network on ready pixels, with as many requests as cores."""
    core = ov.Core()
    model = _with_preprocessing(core.read_model(path))
    model.reshape([1, *SHAPE, 3])
    compiled = _compile(core, model, arithmetic)
    return _in_threads(lambda: _request(compiled, np.zeros((1, *SHAPE, 3), np.uint8)), frames)


def raw_onnxruntime(path: Path, frames: int) -> Callable[[], int]:
    """Does the same on ONNX Runtime in fp32."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    pixels = np.zeros((1, 3, *SHAPE), np.float32)
    return _in_threads(lambda: lambda: session.run(None, {"images": pixels}), frames)


def operations(path: Path) -> float:
    """The number of multiplications and additions of one frame."""
    model = ov.Core().read_model(path)
    model.reshape([1, 3, *SHAPE])
    return 2.0 * sum(convolutions(model).values())


@dataclass(frozen=True, slots=True)
class _Form:
    """A computation that is nothing but multiply-adds.

    Attributes:
        operations: The multiplications and additions of one run.
    """

    model: ov.Model
    shape: tuple[int, ...]
    operations: float


def peak(arithmetic: str, frame_operations: float) -> Callable[[], int]:
    """Computes nothing but multiply-adds, in the form that is fastest here; gives the frames with as many operations.

    Neither form is the limit everywhere: without VNNI OpenVINO multiplies int8 matrices at half of fp32's speed, and
    computes int8 convolutions at two to four times fp32's.

    Args:
        arithmetic: f32, bf16 or int8.
    """
    core, int8 = ov.Core(), arithmetic == "int8"
    speeds: dict[int, float] = {}
    forms = [_product(int8=int8), *(_convolutions(*size, int8=int8) for size in CONVOLUTIONS)]
    compiled = [_compile(core, form.model, "f32" if int8 else arithmetic) for form in forms]
    requests = [_request(one, np.ones(form.shape, np.float32)) for one, form in zip(compiled, forms, strict=True)]
    for request in requests:
        request()
    for _ in range(TRIALS):
        for number, request in enumerate(requests):
            started = time.perf_counter()
            request()
            speed = forms[number].operations / (time.perf_counter() - started)
            speeds[number] = max(speeds.get(number, 0.0), speed)
    best = max(speeds, key=lambda number: speeds[number])
    form = forms[best]
    times = max(4, round(60 * frame_operations / form.operations))
    run = _in_threads(lambda: _request(compiled[best], np.ones(form.shape, np.float32)), times)

    def measured() -> int:
        return round(run() * form.operations / frame_operations)

    return measured


def _product(*, int8: bool) -> _Form:
    values = ops.parameter([MATRIX, MATRIX], np.float32)
    left, weights = _operands(values, (MATRIX, MATRIX), int8=int8)
    return _Form(ov.Model([ops.matmul(left, weights, False, False)], [values]), (MATRIX, MATRIX), 2.0 * MATRIX**3)


def _convolutions(channels: int, height: int, width: int, *, int8: bool) -> _Form:
    """Convolutions of 3x3 one after the other, so that inputs come in the layout that is best for them."""
    shape = (1, channels, height, width)
    values: Any = ops.parameter(list(shape), np.float32)
    layer = values
    for _ in range(LAYERS):
        left, weights = _operands(layer, (channels, channels, 3, 3), int8=int8)
        layer = ops.relu(ops.convolution(left, weights, [1, 1], [1, 1], [1, 1], [1, 1]))
    return _Form(ov.Model([layer], [values]), shape, 2.0 * LAYERS * 9 * channels**2 * height * width)


def _operands(values: Any, shape: tuple[int, ...], *, int8: bool) -> tuple[Any, Any]:
    """Inputs and random weights of an operation, quantised as NNCF does it."""
    weights: Any = ops.constant(np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32))
    if not int8:
        return values, weights
    return (
        ops.fake_quantize(values, 0.0, 2.55, 0.0, 2.55, 256),
        ops.fake_quantize(weights, -1.27, 1.27, -1.27, 1.27, 255),
    )


def _compile(core: ov.Core, model: ov.Model, arithmetic: str) -> ov.CompiledModel:
    settings = {
        "INFERENCE_PRECISION_HINT": arithmetic,
        "INFERENCE_NUM_THREADS": thread_count(),
        "NUM_STREAMS": thread_count(),
    }
    return core.compile_model(model, "CPU", settings)


def _request(compiled: ov.CompiledModel, value: np.ndarray[Any, Any]) -> Callable[[], object]:
    request = compiled.create_infer_request()
    return lambda: request.infer({0: value}, share_inputs=True, share_outputs=True)


def _in_threads(make: Callable[[], Callable[[], object]], number: int) -> Callable[[], int]:
    threads = ThreadPoolExecutor(thread_count())
    local = threading.local()

    def once(_: int) -> None:
        if not hasattr(local, "work"):
            local.work = make()
        local.work()

    def run() -> int:
        list(threads.map(once, range(number)))
        return number

    return run
