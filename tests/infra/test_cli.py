"""What operators type, against the embedded AWS."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local.processes import ROOT, Aws
from local.resources import aws_environment


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The operator's own folder, in which cdktf.out and local state are made."""
    if not shutil.which("node") or not shutil.which("terraform"):
        pytest.skip("node and terraform are needed")
    for name in ("stacks", "environments"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


def run(folder: Path, env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stacks.cli", *arguments],
        cwd=folder, env=env, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip


def test_plan_asks_for_the_bootstrap_and_works_after_it(checkout: Path, aws: Aws) -> None:
    # An environment in a region of its own, so that no other test has made its bucket.
    (checkout / "environments" / "own.toml").write_text('region = "eu-south-2"\n')
    env = aws_environment(aws.url) | {"ENVIRONMENT": "own", "AWS_REGION": "eu-south-2", "TF_IN_AUTOMATION": "1"}
    refused = run(checkout, env, "plan")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith(
        "error: no bucket for the state in account 123456789012, eu-south-2"
    )
    assert "make bootstrap" in refused.stderr

    made = run(checkout, env, "bootstrap", "--auto-approve")
    if "provider" in made.stderr and made.returncode:
        pytest.skip("the AWS provider cannot be installed")
    assert made.returncode == 0, made.stderr
    assert "is there already" in run(checkout, env, "bootstrap").stdout
    planned = run(checkout, env, "plan")
    assert planned.returncode == 0, planned.stderr
    assert "74 to add, 0 to change, 0 to destroy" in planned.stdout


def test_errors_are_one_line(checkout: Path, tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    env |= {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    for arguments, text in (
        (("plan",), "error: no valid AWS credentials"),
        (("plan", "--environment", "nope"), "nope.toml: No such file"),
    ):
        done = run(checkout, env, *arguments)
        assert done.returncode == 2
        [line] = done.stderr.splitlines()
        assert text in line
