"""The stack as HCL that people can maintain by hand.

CDKTF writes HCL where SYNTH_HCL_OUTPUT is set. What its writer quotes or puts into one line is mended here.
`terraform fmt` then sets the spaces.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final

WIDTH: Final = 100
INDENT: Final = 2
# The one name that Terraform and OpenTofu both take for the provider.
PROVIDER: Final = "hashicorp/aws"
# Lists of references, which CDKTF writes as text.
REFERENCES: Final = ("depends_on", "ignore_changes", "replace_triggered_by")
BRACKETS: Final = {"(": ")", "[": "]", "{": "}"}


def wanted() -> bool:
    """Whether CDKTF writes HCL this time, instead of JSON."""
    return os.environ.get("SYNTH_HCL_OUTPUT", "").lower() == "true"


def mend(text: str) -> str:
    """The text of `cdk.tf` for people."""
    text = re.sub(r'(?m)^(\s*source\s*=) "aws"$', rf'\1 "{PROVIDER}"', text, count=1)
    text = re.sub(rf"(?ms)^\s*(?:{'|'.join(REFERENCES)}) = \[.*?\]$", lambda found: _unquote(found[0]), text)
    text = re.sub(r'(?m)^(\s*provider\s*=) "(aws\.\w+)"$', r"\1 \2", text)
    # A text that is a reference and nothing else.
    text = re.sub(r'"\$\{([^"{}]+)\}"', r"\1", text)
    text = re.sub(r'(?m)^(\s*\w+ = )"\$\{([^{}\n]+)\}"$', r"\1\2", text)  # with a string in it
    text = re.sub(r'(?m)^(\s*)(\w+ = )"\$\{(jsonencode)\((.*)\)\}"$', lambda found: _encoded(*found.groups()), text)
    text = re.sub(r"(?m)^\}\n(?=\w)", "}\n\n", text)
    return re.sub(r"\n\s*\n(?=\s*\})", "\n", text).rstrip() + "\n"


def _unquote(listed: str) -> str:
    return re.sub(r'"([\w.-]+)"', r"\1", listed)


def _encoded(margin: str, name: str, function: str, value: str) -> str:
    return f"{margin}{name}{function}({_laid_out(value, len(margin))})"


def _laid_out(value: str, margin: int) -> str:
    """A list or an object in one line, or in as many as it has elements."""
    opening = value[:1]
    if BRACKETS.get(opening) != value[-1:] or opening == "(":
        return value
    elements = [_element(element, margin + INDENT) for element in _split(value[1:-1], ",")]
    if len(flat := f"{opening}{', '.join(elements)}{value[-1]}") + margin <= WIDTH and "\n" not in flat:
        return flat
    pad, comma = " " * (margin + INDENT), "," if opening == "[" else ""
    lines = (f"{pad}{element}{comma}" for element in elements)
    return "\n".join((opening, *lines, " " * margin + value[-1]))


def _element(element: str, margin: int) -> str:
    key, *value = _split(element, "=")
    if not value:
        return _laid_out(key, margin)
    name = re.sub(r'^"([A-Za-z_]\w*)"$', r"\1", key)
    return f"{name} = {_laid_out(value[0], margin)}"


def _split(text: str, separator: str) -> Iterator[str]:
    """The parts of an expression between separators that stand in no text and no bracket."""
    inside: list[str] = []
    start = place = 0
    while place < len(text):
        character = text[place]
        if inside and inside[-1] == '"':
            if character == "\\":
                place += 1
            elif text.startswith("${", place):
                inside.append("}")
                place += 1
            elif character == '"':
                inside.pop()
        elif character == '"':
            inside.append('"')
        elif character in BRACKETS:
            inside.append(BRACKETS[character])
        elif inside and character == inside[-1]:
            inside.pop()
        elif character == separator and not inside:
            yield text[start:place].strip()
            start = place + 1
        place += 1
    if rest := text[start:].strip():
        yield rest
