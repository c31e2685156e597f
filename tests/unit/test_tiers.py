"""`make test` has a test of each kind of fault; the dear tests are known."""

from __future__ import annotations

import importlib
from types import FunctionType

import pytest

from tests import costs

KINDS = {
    "kill": "system.test_shutdown",
    "service outage": "faults.test_services",
    "resharding": "faults.test_resharding",
    "missing resource": "faults.test_missing",
    "hostile frames": "system.test_main_job",
    "stuck": "faults.test_stuck",
    "hostile HTTP": "faults.test_http",
}


def thorough(test: FunctionType) -> bool:
    return any(mark.name == "thorough" for mark in getattr(test, "pytestmark", []))


@pytest.mark.parametrize("module", KINDS.values(), ids=KINDS)
def test_a_newcomer_sees_each_kind_of_fault(module: str) -> None:
    found = vars(importlib.import_module(f"tests.{module}"))
    assert [name for name, test in found.items() if name.startswith("test_") and not thorough(test)]


def test_what_is_said_to_be_dear_is_there() -> None:
    assert [name for name in costs.SECONDS if not (costs.TESTS / name).is_file()] == []
