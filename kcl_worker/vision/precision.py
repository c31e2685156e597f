"""Which precision is the fastest on this processor, of those that agree with fp32: `YOLO_PRECISION=auto`.

It runs the first third of each network in turns. That third is compiled and run in a fraction of the time and of the
memory of the whole, and its ratios are those of the whole: docs/performance.md#auto.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Final

import numpy as np
import openvino as ov

from kcl_worker.errors import ModelError
from kcl_worker.model_files import quantised
from kcl_worker.vision import agreement
from kcl_worker.vision.export import Export, refusal
from kcl_worker.vision.letterbox import Letterbox
from kcl_worker.vision.openvino_detector import Precision, computes_bf16

# For reading, compiling and running. What is prepared when it is over takes one turn all the same.
BUDGET_SECONDS: Final = 2.0
# Turns; the least time of each network counts, which the rest of the machine has disturbed least.
TURNS: Final = 10
PART: Final = 1 / 3
# The share of fp32's time below which another precision is worth its differences.
WORTH: Final = 0.95
# A camera's picture; pixels.
PICTURE: Final = (720, 1280)

Run = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Choice:
    """What is taken, and why.

    Attributes:
        milliseconds: The first third of the network by precision; empty where there was no choice.
        left_out: Why others were not measured.
        seconds: How long it took to find out.
    """

    precision: Precision
    milliseconds: dict[Precision, float]
    left_out: dict[Precision, str]
    seconds: float

    @property
    def reason(self) -> str:
        if len(self.milliseconds) < 2:
            return "all others are left out"
        if self.precision == "fp32":
            return f"no other that may be taken is faster by {1 - WORTH:.0%}"
        return "the fastest of those that may be taken"


class Deadline:
    """Of time here or of this process's computing, whichever is less.

    Part of a core takes longer to compute as much, and a busy machine is not to be left without an answer.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._wall, self._computing = seconds, time.monotonic(), time.process_time()

    @property
    def is_over(self) -> bool:
        return min(time.monotonic() - self._wall, time.process_time() - self._computing) >= self._seconds


def choose(exported: Path, image_size: int | None = None) -> Choice:
    """Measures what may be taken instead of fp32.

    Args:
        exported: The export; what was quantised and the record of agreement lie beside it.
        image_size: As of `OpenVinoDetector`.

    Raises:
        ModelError: If the export cannot be read.
    """
    started, deadline = time.monotonic(), Deadline(BUDGET_SECONDS)
    others, left_out = allowed(exported, native_bf16=computes_bf16(ov.Core()))
    measured: dict[Precision, float] = {}
    if others:
        part = FirstPart(exported, image_size)
        runs: dict[Precision, Run] = {"fp32": part.prepare(exported, "fp32")}
        for precision, path in others.items():
            if deadline.is_over:
                left_out[precision] = f"the {BUDGET_SECONDS:g} seconds were over"
                continue
            try:
                runs[precision] = part.prepare(path, precision)
            except ModelError as error:
                left_out[precision] = str(error)
        measured = {precision: round(taken, 1) for precision, taken in least_milliseconds(runs, deadline).items()}
    return Choice(fastest(measured), measured, left_out, round(time.monotonic() - started, 2))


def allowed(exported: Path, *, native_bf16: bool) -> tuple[dict[Precision, Path], dict[Precision, str]]:
    """The files of precisions that may be taken instead of fp32, and why others may not."""
    files: dict[Precision, Path] = {"int8": quantised(exported), "bf16": exported}
    left_out: dict[Precision, str] = {}
    if not native_bf16:
        left_out["bf16"] = "this processor does not compute in it"
    if not files["int8"].is_file():
        left_out["int8"] = f"there is no {files['int8'].name}, which `make quantise` makes"
    for precision in files.keys() - left_out.keys():
        try:
            found = agreement.read(exported).of(precision, {exported, files[precision]})
            objection = found.objection()
        except (ModelError, OSError) as error:
            objection = str(error)
        if objection:
            left_out[precision] = objection
    return {precision: path for precision, path in files.items() if precision not in left_out}, left_out


def fastest(milliseconds: Mapping[Precision, float]) -> Precision:
    """The fastest, if it is faster than fp32 by what is worth its differences."""
    weighted = {precision: taken * (WORTH if precision == "fp32" else 1) for precision, taken in milliseconds.items()}
    return min(weighted, key=lambda precision: weighted[precision], default="fp32")


def least_milliseconds(runs: Mapping[Precision, Run], deadline: Deadline) -> dict[Precision, float]:
    """The least time of each; all take turns, so that none has a quieter machine."""
    least = dict.fromkeys(runs, float("inf"))
    for turn in range(TURNS):
        if turn and deadline.is_over:
            break
        for precision, run in runs.items():
            began = time.perf_counter()
            run()
            least[precision] = min(least[precision], (time.perf_counter() - began) * 1000)
    return least


class FirstPart:
    """The first third of an export's arithmetic, and the same third of what was quantised from it.

    Raises:
        ModelError: If the export cannot be read, or has no such part.
    """

    def __init__(self, exported: Path, image_size: int | None) -> None:
        export = Export.read(exported)
        try:
            size = export.choose_size(image_size)
            box = Letterbox.fit(*PICTURE, size, export.stride, square=export.fixed)
            self._shape = [1, 3, *box.shape]
            export.model.reshape(self._shape)
            self._end = _end_of_first(export.model)
        except (RuntimeError, ValueError) as error:
            raise refusal(exported, error) from None
        self._exported, self._model, self._core = exported, export.model, ov.Core()

    def prepare(self, path: Path, precision: Precision) -> Run:
        """Compiles it for one thread, as each thread of the worker computes it, and runs it once.

        Raises:
            ModelError: If there is no such network, or it was not made of this export.
        """
        try:
            model = self._model
            if path != self._exported:
                model = Export.read(path).model
                model.reshape(self._shape)
            end = next((node for node in model.get_ops() if node.get_friendly_name() == self._end), None)
            if end is None:
                raise ValueError(f"it was not made of {self._exported.name}")
            part = ov.Model([end.output(0)], model.get_parameters(), "first part")
            settings = {
                "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
                "INFERENCE_NUM_THREADS": 1,
                "NUM_STREAMS": 1,
            }
            request = self._core.compile_model(part, "CPU", settings).create_infer_request()
            pixels = ov.Tensor(np.full(self._shape, 0.5, np.float32))
            request.infer({0: pixels})
        except (RuntimeError, ValueError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise ModelError(f"{path}: its first third does not run in {precision} here: {reason}") from None
        return partial(request.infer, {0: pixels}, share_inputs=True, share_outputs=True)


def convolutions(model: ov.Model) -> dict[str, int]:
    """Multiplications by name, in the order in which they are computed; the network's shapes are known."""
    return {
        node.get_friendly_name(): math.prod(node.input_value(1).get_shape()) * math.prod(node.get_output_shape(0)[2:])
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Convolution"
    }


def _end_of_first(model: ov.Model) -> str:
    """The name of the convolution with which a third of the multiplications is done."""
    work = convolutions(model)
    for name, done in zip(work, accumulate(work.values()), strict=True):
        if done >= PART * sum(work.values()):
            return name
    raise ValueError("it has no convolutions")
