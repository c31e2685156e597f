"""What tests share: the embedded AWS, names that do not meet, the reference data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from local.processes import ROOT, Aws
from local.resources import Resources
from tests.pictures import street_jpeg

REFERENCE = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """An embedded AWS on a random port."""
    with Aws(log=tmp_path_factory.mktemp("aws") / "aws.log") as server:
        yield server


@pytest.fixture
def name() -> str:
    """A name that nothing else has."""
    return f"t{uuid4().hex[:12]}"


@pytest.fixture
def resources(aws: Aws, name: str) -> Resources:
    """A stream of one shard, a bucket and queues."""
    return Resources.create(aws.url, name)


@pytest.fixture(scope="session")
def reference() -> Path:
    """Weights, photographs and expected detections; they lie beside the repository, not in it."""
    if not REFERENCE.is_dir():
        pytest.skip("the reference data (shared/data beside the repository) is not there")
    return REFERENCE


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    """A plain JPEG of a drawn street, 320x180."""
    return street_jpeg()
