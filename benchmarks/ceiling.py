"""The bounds of an engine: the network alone in each runtime, and the machine's multiply-adds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from kcl_worker.vision.cpu import thread_count
from kcl_worker.vision.openvino_detector import _with_preprocessing

SHAPE: Final = (384, 640)
# Rows and columns of the matrices whose product measures the machine: 2 * 1536³ operations on 9 MB.
MATRIX: Final = 1536


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
    total = 0
    for node in model.get_ops():
        if node.get_type_name() == "Convolution":
            weights = node.input_value(1).get_shape()
            total += 2 * int(np.prod(weights)) * int(np.prod(node.output(0).get_shape()[2:]))
    return float(total)


def peak(arithmetic: str, frame_operations: float) -> Callable[[], int]:
    """Multiplies large matrices; gives the number of frames with as many operations.

    Args:
        arithmetic: f32, bf16 or int8.
    """
    core = ov.Core()
    values = ops.parameter([MATRIX, MATRIX], np.float32)
    chance = np.random.default_rng(0)
    weights: Any = ops.constant(chance.uniform(-1, 1, (MATRIX, MATRIX)).astype(np.float32))
    left: Any = values
    if arithmetic == "int8":
        left = ops.fake_quantize(values, 0.0, 2.55, 0.0, 2.55, 256)
        weights = ops.fake_quantize(weights, -1.27, 1.27, -1.27, 1.27, 255)
    model = ov.Model([ops.matmul(left, weights, False, False)], [values])
    compiled = _compile(core, model, "f32" if arithmetic == "int8" else arithmetic)
    products = max(4, round(60 * frame_operations / (2 * MATRIX**3)))
    run = _in_threads(lambda: _request(compiled, np.ones((MATRIX, MATRIX), np.float32)), products)

    def measured() -> int:
        return round(run() * 2 * MATRIX**3 / frame_operations)

    return measured


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
