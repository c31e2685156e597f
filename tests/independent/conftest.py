"""Emulators for all tests of this folder, and a rig on them for each; a test says so when one is not installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kcl_worker.kcl.tables import make_missing
from local.rig import Rig
from local.services import Services
from tests.faults.conftest import Report, report
from tests.independent import emulators

__all__ = ["MakeRig", "Report", "report"]

MakeRig = Callable[..., Rig]


@pytest.fixture(scope="session")
def independent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """kinesis-mock, dynalite, s3rver, ElasticMQ."""
    try:
        with emulators.services(tmp_path_factory.mktemp("emulators")) as services:
            yield services
    except emulators.MissingError as missing:
        pytest.skip(f"{missing} is not installed: make test-independent")


@pytest.fixture
def ferrokinesis(independent: Services, tmp_path: Path) -> Iterator[Services]:
    """The same with ferrokinesis instead of kinesis-mock."""
    try:
        program, url = emulators.ferrokinesis(tmp_path)
    except emulators.MissingError as missing:
        pytest.skip(f"{missing} is not installed: make test-independent")
    with program:
        yield replace(independent, urls={**independent.urls, "kinesis": url})
        program.process.kill()


@pytest.fixture
def rig(independent: Services, tmp_path: Path) -> Iterator[MakeRig]:
    """Makes a rig; ends it after the test."""
    made: list[Rig] = []

    def make(environment: dict[str, str] | None = None, services: Services = independent, **options: Any) -> Rig:
        # None of them has a Parameter Store.
        environment = {"SOURCES_PATH": ""} | (environment or {})
        made.append(one := Rig(services, tmp_path, environment=environment, **options))
        # As the stack does. A daemon that comes before the worker makes it without its index, and dynalite cannot add
        # one to a table that is paid by request.
        stream = one.resources.stream
        names = stream, f"{stream}-WorkerMetricStats", f"{stream}-CoordinatorState"
        make_missing(one.resources.client("dynamodb"), *names)
        return one

    yield make
    for one in made:
        one.__exit__()
