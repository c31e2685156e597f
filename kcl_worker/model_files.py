"""Where models lie: exports, and what `make quantise` makes of them. The extra `quantise` reads this file too."""

from __future__ import annotations

from pathlib import Path
from typing import Final

MODELS: Final = Path(__file__).parent.parent / "models"


def quantised(exported: Path) -> Path:
    """Where `make quantise` puts what it makes of an export."""
    return exported.with_name(f"{exported.stem}-int8.xml")
