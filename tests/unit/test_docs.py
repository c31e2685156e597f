"""The documentation's links, commands and examples are valid."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from contract.event import EventMessage
from contract.message import ResultMessage, TallyMessage
from local.processes import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "models" / "README.md"])
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s#]*)(?:#([^)\s]+))?\)")


def anchors(page: Path) -> set[str]:
    """Anchors as GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target}#{anchor}"


def test_commands_are_those_of_the_makefile() -> None:
    database = subprocess.run(["make", "-qpR"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    targets = set(re.findall(r"^([a-z][a-z-]*):", database, re.M))
    for page in PAGES:
        text = page.read_text()
        for command in re.findall(r"(?:`|\$ |&& )make (?:-s )?((?:[a-z-]+ ?)+)", text):
            wanted = set(command.split())
            assert wanted <= targets, f"{page.name}: make {command}"


def test_examples_of_messages_are_messages() -> None:
    text = (ROOT / "docs" / "messages.md").read_text().replace("…", "0")
    result, short, additions = (json.loads(block) for block in re.findall(r"```json\n(.+?)```", text, re.S)[:3])
    assert set(result) == ResultMessage.model_fields.keys() - {"zones", "lines", "events", "hidden", "whole_key"}
    shortened = ResultMessage.model_validate(result | short)
    assert shortened == shortened.shortened(str(shortened.key))
    message = ResultMessage.model_validate(result | additions)
    assert json.loads(message.to_json()) == result | additions
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.+?)```", text, re.S)]
    for kind, model in (("event", EventMessage), ("tally", TallyMessage)):
        [example] = [block for block in blocks if block.get("kind") == kind]
        assert json.loads(model.model_validate(example).to_json()) == example
