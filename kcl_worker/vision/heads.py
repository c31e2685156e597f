"""Which head a network has."""

from __future__ import annotations

from typing import Final

import openvino as ov

from kcl_worker.vision.box_head import scores_of
from kcl_worker.vision.export import Export
from kcl_worker.vision.head import Compile, Head
from kcl_worker.vision.split_head import SplitHead
from kcl_worker.vision.whole_head import BOX, FOUND, EndToEndHead, WholeHead

ALLOWED: Final = "[N,4+classes,cells] and [N,detections,6] are allowed"


def head_of(export: Export, compile_part: Compile) -> Head:
    """The head that suits a network.

    Raises:
        ValueError: If its output has none of the forms of detections.
    """
    try:
        return SplitHead(export.model, compile_part)
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1]
    sized = export.model.clone()
    sized.reshape([1, 3, *export.size])
    output, scores = sized.output(0).partial_shape, scores_of(sized).partial_shape
    if not (output.rank == scores.rank == ov.Dimension(3) and output.is_static and scores.is_static):
        raise ValueError(f"its output is {output}; {ALLOWED}")
    (_, rows, columns), (_, classes, cells) = output.to_shape(), scores.to_shape()
    if (rows, columns) == (BOX + classes, cells):
        return WholeHead(export.model, classes, reason)
    if columns == FOUND:
        height, width = export.size
        return EndToEndHead(export.model, classes, -(-rows * height * width // cells))
    raise ValueError(f"its output is {output}; {ALLOWED}")
