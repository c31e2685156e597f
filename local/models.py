"""Which model runs where nobody names one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from local.processes import ROOT

DEMO: Final = ROOT / "models" / "street.onnx"
EXPORTED: Final = ROOT / "models" / "yolov8n.onnx"


def at_hand() -> Path:
    """An exported YOLOv8n if there is one, else the demo model."""
    return EXPORTED if EXPORTED.is_file() else DEMO
