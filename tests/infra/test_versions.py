"""Which Terraform and which provider run a stack, and what the lock refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from local.processes import ROOT
from tests.infra.conftest import ACCOUNT, Synth, Terraform

LOCK = ROOT / "environments" / ".terraform.lock.hcl"


def test_every_stack_has_its_versions_and_the_lock(synth: Synth, tmp_path: Path) -> None:
    synth({"github": {"repository": "owner/cv2kinesis"}}, account=ACCOUNT)
    [version] = re.findall(r'^  version     = "(.+)"$', LOCK.read_text(), re.MULTILINE)
    stacks = list((tmp_path / "cdktf.out/stacks").iterdir())
    assert {stack.name for stack in stacks} == {"state", "github", "test"}
    for stack in stacks:
        terraform = json.loads((stack / "cdk.tf.json").read_text())["terraform"]
        assert (stack / "versions.tf").read_text() == 'terraform {\n  required_version = ">= 1.10.0, < 2.0.0"\n}\n'
        assert terraform["required_providers"] == {"aws": {"source": "hashicorp/aws", "version": version}}
        assert (stack / LOCK.name).read_bytes() == LOCK.read_bytes()


def test_the_lock_is_for_every_platform() -> None:
    # The release has archives of 14 platforms, and a manifest.
    assert len(set(re.findall(r'"zh:[0-9a-f]{64}"', LOCK.read_text()))) == 15
    assert re.search(r'"h1:[A-Za-z0-9+/]{43}="', LOCK.read_text())


@pytest.mark.thorough
def test_terraform_takes_no_provider_with_other_hashes(
    synth: Synth, terraform: Callable[[str], Terraform], tmp_path: Path
) -> None:
    synth()
    stack = terraform("test")
    lock = stack.folder / LOCK.name
    stack.init()  # skips without the provider
    assert lock.read_bytes() == LOCK.read_bytes()
    hashes = {"h1:": "h1:" + "A" * 43 + "=", "zh:": "zh:" + "0" * 64}
    lock.write_text(re.sub(r'"(h1:|zh:)[^"]+"', lambda found: f'"{hashes[found[1]]}"', LOCK.read_text()))
    refused = stack.run("init", "-input=false", "-lockfile=readonly", "-no-color", check=False)
    assert refused.returncode == 1
    assert "checksum" in refused.stderr
