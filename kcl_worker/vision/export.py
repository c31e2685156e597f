"""What ultralytics exports: a network, and metadata that say what it finds and of what pictures."""

from __future__ import annotations

import ast
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from kcl_worker.errors import ModelError

# The task, by the metadata, whose models give boxes alone.
DETECTION: Final = "detect"
# A detector by its task whose boxes are fractions of a picture that was stretched, not letterboxed.
STRETCHING: Final = "RTDETRDecoder"
DEFAULT_SIZE: Final = 640
MAX_SIZE: Final = 8192
# Limits of the result message.
MAX_NAME: Final = 128
# A thousand classes take 20 000 characters.
MAX_METADATA: Final = 2_000_000
# They join letters of Persian and Indic scripts, and parts of emoji.
JOINERS: Final = dict.fromkeys((0x200C, 0x200D))
HASH_LINE: Final = re.compile(r"([0-9a-f]{64}) [ *]([^/\0]+)")
FLOATS: Final = (ov.Type.f16, ov.Type.f32)


@dataclass(frozen=True, slots=True)
class Export:
    """A detection model.

    Attributes:
        name: The file's name without its ending.
        model: The network; its input is [N, 3, H, W], its arithmetic fp32.
        stride: Height and width of its input are multiples of this.
        size: Height and width of its input.
        fixed: Whether it takes no other size.
    """

    name: str
    model: ov.Model
    stride: int
    size: tuple[int, int]
    fixed: bool

    @classmethod
    def read(cls, path: Path) -> Export:
        """Reads an ONNX file, an OpenVINO file or a folder that holds one; compares it with its hash, if it has one.

        Raises:
            ModelError: With one line that says what is wrong with it.
        """
        file = _file(path)
        _check_hash(file)
        try:
            _check_weights(file)
            model = ov.Core().read_model(file)
            _read_metadata(model, file)
            _check_task(model)
            _compute_in_fp32(model)
            stride = _stride(model)
            size, fixed = _size(model)
            return cls(file.stem, model, stride, size, fixed)
        except (RuntimeError, ValueError) as error:
            raise refusal(path, error) from None

    def class_names(self, classes: int) -> tuple[str, ...]:
        """Names by class id.

        Raises:
            ValueError: If they are not those of so many classes, or no consumer would take them.
        """
        names = metadata(self.model, "names")
        if not isinstance(names, dict):
            raise _other("names", names, "{0: 'person', 1: …} is")
        if set(names) != set(range(classes)):
            raise ValueError(f"its metadata names {len(names)} classes, its network has {classes}, from 0 on")
        for number, name in names.items():
            check_name(f"class {number}", name)
        return tuple(names[number] for number in range(classes))

    def choose_size(self, wanted: int | None) -> tuple[int, int]:
        """Height and width of the network's input.

        Args:
            wanted: The longer side; None takes the export's own size.

        Raises:
            ValueError: If the network does not take it.
        """
        if wanted is None or (self.fixed and wanted == max(self.size)):
            return self.size
        if self.fixed:
            height, width = self.size
            raise ValueError(
                f"image size {wanted}: it was exported for {width}x{height} alone; leave the size out, or export it "
                "with dynamic=True"
            )
        if wanted % self.stride:
            raise ValueError(f"image size {wanted}: a multiple of its stride, {self.stride}, is allowed")
        return wanted, wanted


def refusal(path: Path, error: Exception) -> ModelError:
    """Why a file is no model for us, in one line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return ModelError(f"{path}: not an ultralytics export of a detection model: {lines[-1]}")


def metadata(model: ov.Model, key: str) -> Any:
    """A value of ultralytics' metadata: a number, a list or a dictionary where it reads as one, else the text.

    Raises:
        ValueError: If there is none.
    """
    if not model.has_rt_info(["framework", key]):
        raise ValueError(f"its metadata has no {key!a}")
    text = str(model.get_rt_info(["framework", key]).value)
    if len(text) > MAX_METADATA:
        raise ValueError(f"its metadata's {key!a} has {len(text)} characters; {MAX_METADATA} are allowed")
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # TypeError: a list as a key
        return text


def _other(key: str, value: object, allowed: str) -> ValueError:
    """A value of the metadata that cannot be used."""
    return ValueError(f"its metadata's {key!a} are {value!r:.60}; {allowed} allowed")


def files_of(path: Path) -> list[Path]:
    """The files that a model consists of, its network first.

    Raises:
        ModelError: If there is no such model.
    """
    file = _file(path)
    return [file, file.with_suffix(".bin")] if file.suffix == ".xml" else [file]


def _file(path: Path) -> Path:
    if path.is_dir():
        files = sorted(path.glob("*.xml"))
        if len(files) != 1:
            raise ModelError(f"{path}: a folder with one .xml file is allowed, it holds {len(files)}")
        return files[0]
    if not path.is_file():
        raise ModelError(f"{path}: no such model; `make model` exports one, `make quantise` makes it int8")
    return path


def _check_weights(file: Path) -> None:
    weights = file.with_suffix(".bin")
    if file.suffix == ".xml" and not weights.is_file():
        raise ValueError(f"{file.name} has no weights beside it: {weights.name}")


def listed_hashes(path: Path) -> dict[str, str]:
    """SHA-256 by name, from the list beside a file; empty if there is none.

    Raises:
        ModelError: If it is no list as `sha256sum` writes it.
    """
    beside = path.with_name(path.name + ".sha256")
    if not beside.is_file():
        return {}
    lines = [line for line in beside.read_text(errors="replace").splitlines() if line.strip()]
    named = [match.groups() for line in lines if (match := HASH_LINE.fullmatch(line))]
    if not named or len(named) < len(lines):
        raise ModelError(f"{beside}: lines as `sha256sum` writes them are allowed; export the model again")
    return {name: digest for digest, name in named}


def _check_hash(path: Path) -> None:
    for name, expected in listed_hashes(path).items():
        file = path.parent / name
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != expected:
            raise ModelError(f"{file}: missing, or its SHA-256 is not the one in {path.name}.sha256; export it again")


def _read_metadata(model: ov.Model, file: Path) -> None:
    """Gives a network the metadata beside it, where ultralytics did not write them into its file."""
    beside = file.with_name("metadata.yaml")
    if model.has_rt_info(["framework", "names"]) or not beside.is_file():
        return
    import yaml  # of this case alone

    if beside.stat().st_size > MAX_METADATA:
        raise ValueError(f"{beside.name} has {beside.stat().st_size} bytes; {MAX_METADATA} are allowed")
    try:
        text = beside.read_text(encoding="utf-8")
        # A few nested aliases stand for more text than any memory holds.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise yaml.YAMLError
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):  # a date of no calendar is a ValueError
        raise ValueError(f"{beside.name} is no YAML without aliases") from None
    if isinstance(values, dict):
        for key, value in values.items():
            model.set_rt_info(str(value), ["framework", str(key)])


def _check_task(model: ov.Model) -> None:
    """Refuses what is exported for another task than detection, by its metadata, and what gives boxes otherwise.

    Raises:
        ValueError: Says which task.
    """
    if not model.has_rt_info(["framework", "names"]):
        raise ValueError("it has no metadata of ultralytics; export it with `make model WEIGHTS=file.pt`")
    if model.has_rt_info(["framework", "task"]):
        task = str(metadata(model, "task"))
        if task != DETECTION:
            raise ValueError(f"it was exported for the task {task[:40]!a}; only {DETECTION!a} gives boxes to send on")
    if model.has_rt_info(["framework", "head"]) and metadata(model, "head") == STRETCHING:
        raise ValueError("it is an RT-DETR, whose pictures are stretched; YOLO's models are allowed")
    if len(model.outputs) != 1:
        raise ValueError(f"it has {len(model.outputs)} outputs; a detection model has one")


def _size(model: ov.Model) -> tuple[tuple[int, int], bool]:
    """Height and width, and whether they are fixed.

    Raises:
        ValueError: If the network does not take one colour picture at a time.
    """
    shape = model.input(0).partial_shape
    if len(model.inputs) != 1 or shape.rank.get_length() != 4 or not shape[1].compatible(ov.Dimension(3)):
        raise ValueError(f"it takes {shape}; a network for pictures of three colours takes [N,3,H,W]")
    if not shape[0].compatible(ov.Dimension(1)):
        raise ValueError(f"it takes {shape[0]} pictures at a time; export it with batch=1 or dynamic=True")
    if shape[2].is_static and shape[3].is_static:
        return (shape[2].get_length(), shape[3].get_length()), True
    if not model.has_rt_info(["framework", "imgsz"]):
        return (DEFAULT_SIZE, DEFAULT_SIZE), False
    match metadata(model, "imgsz"):
        case int(height), int(width):
            pass
        case int(height):
            width = height
        case other:
            raise _other("imgsz", other, "[height, width] is")
    if not 0 < min(height, width) <= max(height, width) <= MAX_SIZE:
        raise _other("imgsz", [height, width], f"1 to {MAX_SIZE} are")
    return (height, width), False


def _stride(model: ov.Model) -> int:
    stride = metadata(model, "stride")
    if not isinstance(stride, int) or not 0 < stride <= MAX_SIZE:
        raise _other("stride", stride, f"1 to {MAX_SIZE} are")
    return stride


def _compute_in_fp32(model: ov.Model) -> None:
    """Turns a network that was exported for fp16 arithmetic into one for fp32.

    The CPU computes it in fp32 anyway; what remained of fp16 would round the boxes on their way out.
    """
    nodes = model.get_ordered_ops()
    if not any(_is_fp16(node) for node in nodes if node.get_type_name() != "Constant"):
        return
    for node in nodes:
        match node.get_type_name():
            case "Parameter" if _is_fp16(node):
                node.set_element_type(ov.Type.f32)
            case "Constant" if _is_fp16(node):
                node.output(0).replace(ops.constant(node.data.astype(np.float32)).output(0))
            case "Convert" if node.get_output_element_type(0) in FLOATS:
                if node.get_input_element_type(0) in FLOATS:
                    node.output(0).replace(node.input_value(0))
                else:
                    node.set_destination_type(ov.Type.f32)
    model.validate_nodes_and_infer_types()


def _is_fp16(node: ov.Node) -> bool:
    return bool(node.get_output_size()) and node.get_output_element_type(0) == ov.Type.f16


def check_name(what: str, name: object) -> None:
    """Refuses a name that has no place in an SQS message, or misleads whoever reads it.

    Raises:
        ValueError: Says what is allowed.
    """
    if not isinstance(name, str):
        raise ValueError(f"{what}: {str(name)[:40]}: a text is allowed")
    visible = name.translate(JOINERS)
    if not (visible.strip() and visible.isprintable() and len(name) <= MAX_NAME):
        raise ValueError(f"{what}: {name[:40]!a}: 1 to {MAX_NAME} printable characters are allowed")
