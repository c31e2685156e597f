"""YOLOv8's detection head, which computes boxes only where something was found.

The head has two branches of convolutions on each of three feature maps: for every cell, one branch gives
class scores and the other gives boxes. Only a few dozen of some thousand boxes have a score that counts, yet
the box branch takes a sixth of YOLOv8n's time. So the network is cut in two. The part that gives scores runs
on the whole image. The box branch runs on the 5x5 cells around each candidate, which is all that its two 3x3
convolutions see, so the boxes equal those of the whole network.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from kcl_worker.vision.head import Floats

# Width of the square of cells that a candidate's box depends on: two 3x3 convolutions, one after the other.
PATCH: Final = 5
# The number of candidates of a level that are computed at once; fewer are padded. A network with a fixed shape is
# faster, and an image's boxes do not depend on what else is in the batch.
PATCHES: Final = 16


@dataclass(frozen=True, slots=True)
class Candidates:
    """Cells of one image whose best score is high enough, most confident first.

    Attributes:
        cell: Index into the cells of all levels, in the network's order: [N].
        confidence: Confidence of the best class, 0 to 1: float32 [N].
        class_id: The best class: int32 [N].
    """

    cell: NDArray[np.intp]
    confidence: Floats
    class_id: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class _Level:
    """One feature map of the head in the graph."""

    features: ov.Output
    box: ov.Output
    scores: ov.Output
    convolutions: tuple[ov.Node, ov.Node]


def split(model: ov.Model) -> tuple[ov.Model, list[ov.Model]]:
    """Cuts a network in two.

    Args:
        model: An export of YOLOv8, its input [N, 3, H, W].

    Returns:
        The first part, and a second part for each level. The first part gives the logits of all cells [N, classes,
        cells] and each level's feature maps [N, h, w, channels]. A second part takes a level's patches [PATCHES, 5, 5,
        channels] and masks [PATCHES, 3, 3, 1] of the cells inside the image, and gives the distributions of the boxes'
        sides [PATCHES, 4 * bins].

    Raises:
        ValueError: If the network's head is not YOLOv8's.
    """
    branches = [_box_network(model.clone(), number) for number in range(len(_levels(model)))]
    levels = _levels(model)
    logits = [ops.reshape(level.scores, [0, level.scores.partial_shape[1].get_length(), -1], True) for level in levels]
    maps = [ops.transpose(level.features, [0, 2, 3, 1]) for level in levels]
    return ov.Model([ops.concat(logits, 2), *maps], model.get_parameters(), "scores"), branches


def box_branch(model: ov.Model) -> list[str]:
    """Names of the operations that only the boxes need; a quantised network keeps them in full precision.

    Raises:
        ValueError: If the network has no scores.
    """
    try:
        below = [value for level in _levels(model) for value in (level.scores, level.features)]
    except ValueError:  # another head
        below = scores_of(model).get_node().input_values()
    others = {node.get_friendly_name() for value in below for node in _ancestors(value)}
    return sorted({node.get_friendly_name() for node in _ancestors(model.output(0))} - others)


def scores_of(model: ov.Model) -> ov.Output:
    """The scores of all cells, of any detection head: the output of the Sigmoid that is nearest to the network's.

    Raises:
        ValueError: If there is none.
    """
    for node in _ancestors(model.get_results()[0].input_value(0)):
        if node.get_type_name() == "Sigmoid":
            return node.output(0)
    raise ValueError("no Sigmoid gives scores")


def select(logits: Floats, threshold: float, limit: int) -> Candidates:
    """Selects candidates by the logits [classes, cells] of one image.

    Args:
        threshold: The best class's confidence must be above this.
        limit: The greatest number of candidates; the most confident stay.
    """
    best = logits.max(axis=0)
    with np.errstate(divide="ignore"):
        # Slightly lower, because the exact comparison below is between confidences.
        least = np.log(threshold / np.float64(1 - threshold)) - 1e-3 if threshold < 1 else np.inf
    cell = np.flatnonzero(best > least)
    confidence = _sigmoid(best[cell])
    above = confidence > threshold
    cell, confidence = cell[above], confidence[above]
    order = np.argsort(-confidence, kind="stable")[:limit]
    cell = cell[order]
    return Candidates(cell, confidence[order], logits[:, cell].argmax(axis=0).astype(np.int32))


class BoxHead:
    """The box branches for one thread.

    Args:
        branches: The compiled second parts from `split`.
    """

    def __init__(self, branches: list[ov.CompiledModel]) -> None:
        self._requests = [branch.create_infer_request() for branch in branches]
        self._patches = [np.zeros(branch.input(0).shape, np.float32) for branch in branches]
        self._masks = np.zeros((PATCHES, 3, 3, 1), np.float32)

    def boxes(self, cells: NDArray[np.intp], maps: list[Floats], shape: tuple[int, int]) -> Floats:
        """The boxes x1 y1 x2 y2 of some cells [N], in pixels of the network's input: [N, 4].

        Args:
            maps: Feature maps [h, w, channels] of the image, one for each level.
            shape: Height and width of the network's input.
        """
        boxes = np.empty((len(cells), 4), np.float32)
        first = 0
        for level, features in enumerate(maps):
            height, width = features.shape[:2]
            mine = np.flatnonzero((cells >= first) & (cells < first + height * width))
            row, column = np.divmod(cells[mine] - first, width)
            first += height * width
            stride = np.float32(shape[0] / height)
            for start in range(0, len(mine), PATCHES):
                part = slice(start, start + PATCHES)
                sides = self._sides(level, features, row[part], column[part])
                centre = np.stack((column[part], row[part]), axis=1) + np.float32(0.5)
                boxes[mine[part], :2] = (centre - sides[:, :2]) * stride
                boxes[mine[part], 2:] = (centre + sides[:, 2:]) * stride
        return boxes

    def _sides(self, level: int, features: Floats, row: NDArray[np.intp], column: NDArray[np.intp]) -> Floats:
        """Distances from at most PATCHES cells' centres to left, top, right and bottom, in cells: [N, 4]."""
        number = len(row)
        rows, row_inside = _around(row, features.shape[0])
        columns, column_inside = _around(column, features.shape[1])
        inside = row_inside[:, :, None] & column_inside[:, None, :]
        patches = self._patches[level]
        np.multiply(
            features[rows[:, :, None], columns[:, None, :]], inside[..., None], out=patches[:number], casting="unsafe"
        )
        self._masks[:number] = inside[:, 1:-1, 1:-1, None]
        result = self._requests[level].infer({0: patches, 1: self._masks}, share_inputs=True, share_outputs=True)
        return expectation(np.asarray(result[0], np.float32)[:number])


def expectation(distributions: Floats) -> Floats:
    """The sides' expected lengths [N, 4] from their distributions' logits [N, 4 * bins] over 0, 1, 2 … cells."""
    logits = distributions.reshape(len(distributions), 4, -1)
    weights = np.exp(logits - logits.max(axis=2, keepdims=True))
    bins = np.arange(logits.shape[2], dtype=np.float32)
    return np.asarray((weights @ bins) / weights.sum(axis=2), np.float32)


def _around(index: NDArray[np.intp], size: int) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """A patch's indices along one axis, clipped to the map, and whether each lay in it: both [N, PATCH]."""
    indices = index[:, None] + np.arange(-(PATCH // 2), PATCH // 2 + 1)
    return indices.clip(0, size - 1), (indices >= 0) & (indices < size)


def _sigmoid(values: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-values)), np.float32)


def _levels(model: ov.Model) -> list[_Level]:
    """Finds the head's levels, from the output upwards.

    The output is a Concat of the boxes and of the scores from a Sigmoid. The Softmax of the boxes' distributions and
    the Sigmoid both work on a Concat of all levels, each the Reshape of a convolution's output. (Older exports first
    join boxes and scores of a level, and split them after that Concat.)
    """
    boxes, scores = _expect(model.get_results()[0].input_value(0), "Concat").input_values()
    # The nearest: the attention of YOLO11 and YOLO12 has others.
    softmax = next((node for node in _ancestors(boxes) if node.get_type_name() == "Softmax"), None)
    if softmax is None:
        raise ValueError("the head has no distributions of boxes")
    pairs = zip(_by_level(softmax), _by_level(_expect(scores, "Sigmoid")), strict=True)
    levels = []
    for box, score in pairs:
        if box.get_node().get_friendly_name() == score.get_node().get_friendly_name():
            box, score = _expect(box, "Concat").input_values()
        first, second, _ = reversed(list(_convolutions(box)))
        if any(list(node.input_value(1).partial_shape.to_shape())[2:] != [3, 3] for node in (first, second)):
            raise ValueError("the head's box branch is not two convolutions of 3x3 and one of 1x1")
        levels.append(_Level(_unquantised(first.input_value(0)), box, score, (first, second)))
    return levels


def _by_level(node: ov.Node) -> list[ov.Output]:
    """Each level's input to a node that works on all levels."""
    passed = ("Transpose", "Reshape", "Slice", "VariadicSplit", "Split", "FakeQuantize")
    node = node.input_value(0).get_node()
    while node.get_type_name() in passed:
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Concat":
        raise ValueError(f"{node.get_type_name()} where YOLOv8's head joins its levels")
    return [_unquantised(_expect(value, "Reshape").input_value(0)) for value in node.input_values()]


def _box_network(model: ov.Model, number: int) -> ov.Model:
    """The box branch of one level on patches instead of the whole map; it takes the model apart."""
    level = _levels(model)[number]
    channels = level.features.partial_shape[1].get_length()
    patches = ops.parameter([PATCHES, PATCH, PATCH, channels], np.float32, name="patches")
    mask = ops.parameter([PATCHES, 3, 3, 1], np.float32, name="mask")
    for target in level.features.get_target_inputs():
        target.replace_source_output(ops.transpose(patches, [0, 3, 1, 2]).output(0))
    for convolution in level.convolutions:
        convolution.set_attribute("pads_begin", [0, 0])
        convolution.set_attribute("pads_end", [0, 0])
    # Beyond the image's edge, the second convolution must see its padding, zero, not what the first one gives there.
    second = level.convolutions[1].input(0)
    ov.Model([second.get_source_output()], [patches]).validate_nodes_and_infer_types()
    masked = ops.multiply(second.get_source_output(), ops.transpose(mask, [0, 3, 1, 2]))
    second.replace_source_output(masked.output(0))
    branch = ov.Model([ops.reshape(level.box, [PATCHES, -1], False)], [patches, mask], f"boxes {number}")
    branch.validate_nodes_and_infer_types()
    return branch


def _convolutions(value: ov.Output) -> Iterator[ov.Node]:
    """The three convolutions of a branch, found from its end upwards."""
    found = 0
    while found < 3:
        node = value.get_node()
        if node.get_type_name() == "Convolution":
            found += 1
            yield node
        elif node.get_type_name() not in ("Add", "Multiply", "Swish", "FakeQuantize"):
            raise ValueError(f"{node.get_type_name()} in the head's box branch")
        value = node.input_value(0)


def _expect(value: ov.Output, kind: str) -> ov.Node:
    node = _unquantised(value).get_node()
    if node.get_type_name() != kind:
        raise ValueError(f"{node.get_type_name()} where YOLOv8's head has {kind}")
    return node


def _unquantised(value: ov.Output) -> ov.Output:
    node = value.get_node()
    return node.input_value(0) if node.get_type_name() == "FakeQuantize" else value


def _ancestors(value: ov.Output) -> list[ov.Node]:
    """All operations that a value depends on, the nearest first."""
    seen: dict[str, Any] = {}
    waiting = deque([value.get_node()])
    while waiting:
        node = waiting.popleft()
        if node.get_friendly_name() not in seen:
            seen[node.get_friendly_name()] = node
            waiting += [source.get_node() for source in node.input_values()]
    return list(seen.values())
