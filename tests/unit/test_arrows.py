"""Compares the imports in the code with the table of allowed imports in docs/architecture.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from local.processes import ROOT

# The worker's ground: the modules that its packages share. Its other modules put the packages together.
GROUND = {"budget", "doing", "errors", "heap", "kinship", "model_files", "multilang", "record", "settings"}
ROOMS = {path.parent.name for path in (ROOT / "kcl_worker").glob("*/__init__.py")}


def allowed() -> dict[str, set[str]]:
    """Packages that each package may import, as the table says."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| `([\w. ]+)` \|[^|]*\|([^|]*)\|", text.partition("May import")[2], re.MULTILINE)
    return {package: set(re.findall(r"`([\w. ]+)`", others)) for package, others in rows}


def packages() -> set[str]:
    """The packages of the repository, including the worker's packages and its ground."""
    top = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    return top | {f"kcl_worker.{room}" for room in ROOMS} | {"kcl_worker ground"}


def package_of(module: str) -> str:
    """The package of the table that a module belongs to."""
    first, second, *_ = [*module.split("."), ""]
    if first != "kcl_worker":
        return first
    if second in ROOMS:
        return f"kcl_worker.{second}"
    return "kcl_worker ground" if second in GROUND else "kcl_worker"


def imports(path: Path) -> Iterator[str]:
    """Modules that a file imports anywhere, also for types only."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            # `from kcl_worker import settings` names the module in its list.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def arrows() -> dict[tuple[str, str], str]:
    """Which package imports which, with a place of each import."""
    found = {}
    known = packages()
    for path in sorted(ROOT.glob("*/**/*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        here = package_of(module)
        if here not in known:
            continue
        for imported in imports(path):
            there = package_of(imported)
            if there in known and there != here:
                found[here, there] = f"{path.relative_to(ROOT)} imports {imported}"
    return found


def test_the_table_names_every_package() -> None:
    table = allowed()
    assert set(table) == packages()
    assert set().union(*table.values()) <= packages()


def test_no_import_is_outside_of_the_table_and_no_arrow_of_it_is_without_one() -> None:
    table, found = allowed(), arrows()
    assert [place for (here, there), place in found.items() if there not in table[here]] == []
    assert [
        f"{here} → {there}" for here, others in table.items() for there in others if (here, there) not in found
    ] == []


def test_no_circle() -> None:
    order = list(TopologicalSorter(allowed()).static_order())  # raises CycleError
    assert order.index("contract") < order.index("kcl_worker ground") < order.index("kcl_worker")


def test_nothing_of_the_product_knows_the_embedded_aws_or_the_tests() -> None:
    product = {"cloud", "contract", "terminal", "producer", "consumer", "doctor", "audit", "stacks"} | {
        package for package in packages() if package.startswith("kcl_worker")
    }
    assert [place for (here, there), place in arrows().items() if here in product and there == "local"] == []


@pytest.mark.parametrize("module", ["record_processor", "wire"])
def test_a_record_processor_stays_light(module: str) -> None:
    """It imports only the standard library, KCL's side of the protocol and four small modules of this project."""
    seen, queue = set(), [f"kcl_worker.kcl.{module}"]
    while queue:
        name = queue.pop()
        path = ROOT / f"{name.replace('.', '/')}.py"
        if name in seen or not path.exists():
            continue
        seen.add(name)
        at_run_time = [
            node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        for node in at_run_time:
            if isinstance(node, ast.ImportFrom):
                queue += [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                queue += [alias.name for alias in node.names]
    assert seen <= {"kcl_worker.kcl.record_processor", "kcl_worker.kcl.wire", "kcl_worker.record", "cloud.retry"}
