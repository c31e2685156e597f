"""Writes the table of the worker's variables into the README.

python -m kcl_worker.reference
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic_core import PydanticUndefined

from kcl_worker.settings import Settings

README: Final = Path(__file__).parent.parent / "README.md"
BEGIN: Final = "<!-- settings: written by `python -m kcl_worker.reference`, checked by a test -->\n"
END: Final = "<!-- /settings -->\n"


def table() -> str:
    """A row for each variable, in Markdown."""
    rows = ["| variable | default | |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = (
            "required" if field.default is PydanticUndefined and field.default_factory is None else f"`{field.default}`"
        )
        if field.default in ("", None):
            default = "none"
        if field.default_factory is not None:
            default = "made anew"
        rows.append(f"| `{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


def with_table(text: str) -> str:
    """The README's text with the table as the code has it."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + END + after


if __name__ == "__main__":
    README.write_text(with_table(README.read_text()))
