"""Reads the producer's ledger (`producer send --ledger FILE`)."""

from __future__ import annotations

from pathlib import Path

from contract.ledger import Accepted


def read_ledger(path: Path) -> list[Accepted]:
    """All frames of a ledger, in the order of their acceptance. A last line that a kill has cut is skipped."""
    lines = path.read_text().splitlines(keepends=True)
    return [Accepted.from_json(line) for line in lines if line.endswith("\n")]
