"""The ways out of CDKTF that docs/cdktf.md shows: plain HCL, with Terraform or OpenTofu, and `cdktn`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.processes import ROOT, Aws
from tests.infra import tools
from tests.infra.conftest import ACCOUNT, Checkout, Synth, Terraform, skip_without_provider, synthesise_hcl
from tests.infra.test_apply import drift
from tests.infra.test_scan import VARIANTS

REGION = "eu-north-1"
CDKTN = ROOT / ".venv-cdktn/bin/python"
GUIDE = ROOT / "docs/cdktf.md"


def commands(heading: str) -> list[str]:
    """What the guide tells people to type below a heading."""
    section = GUIDE.read_text().partition(f"## {heading}")[2].partition("\n## ")[0]
    return re.findall(r"^\$ (.+)$", section, re.MULTILINE)


@pytest.mark.thorough
def test_the_hcl_alone_plans_no_change_of_what_the_json_has_made(checkout: Callable[[str], Checkout], aws: Aws) -> None:
    operator = checkout(REGION)
    operator.configure('suffix = "-hcl"\n')
    made = operator.run("bootstrap", "--auto-approve")
    skip_without_provider(made.stdout)
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]
    operator.succeed("plan", "--out", "plan")
    operator.stack.run("apply", "-input=false", "-no-color", "plan")
    # As the guide says it, with this checkout's Python in the place of make's own.
    shutil.copy(ROOT / "Makefile", operator.folder)
    env = operator.env | {"MAKEFLAGS": f"BIN={ROOT / '.venv/bin'} INFRA=Makefile"}
    script = "\n".join(["set -e", *commands("Plain HCL")]).replace("prod", "own")
    typed = subprocess.run(
        ["bash", "-c", script], cwd=operator.folder, env=env, capture_output=True, text=True, check=False
    )
    assert typed.returncode == 0, typed.stdout[-3000:] + typed.stderr[-3000:]
    folder = operator.folder / "infrastructure"
    # Nothing of CDKTF is left there.
    (folder / "metadata.json").unlink(missing_ok=True)
    shutil.rmtree(operator.folder / "cdktf.out")
    assert drift(Terraform(folder, aws)) == {}
    if tools.TOFU.exists():
        assert drift(opentofu(folder, operator.folder / "opentofu", aws)) == {}


def opentofu(terraform: Path, folder: Path, aws: Aws) -> Terraform:
    """OpenTofu in a copy of a folder, with the provider that Terraform has there."""
    shutil.copytree(terraform, folder, ignore=shutil.ignore_patterns(".terraform", "plan"))
    # Its own registry has the provider by another name of the host.
    installed, mirror = terraform / ".terraform/providers/registry.terraform.io", folder / "mirror"
    for provider in installed.glob("hashicorp/aws/*/*"):
        platform = mirror / "registry.opentofu.org" / provider.relative_to(installed)
        platform.parent.mkdir(parents=True)
        platform.symlink_to(provider.resolve())
    config = folder / "tofurc"
    config.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n')
    tofu = Terraform(folder, aws, str(tools.TOFU), {"TF_CLI_CONFIG_FILE": str(config)})
    tofu.run("init", "-input=false", "-no-color")
    return tofu


@pytest.mark.parametrize("name", ["default", pytest.param("all", marks=pytest.mark.thorough)])
def test_the_hcl_has_all_that_the_json_has(synth: Synth, tmp_path: Path, name: str) -> None:
    stack = synth(VARIANTS[name], account=ACCOUNT)
    text = (synthesise_hcl(VARIANTS[name], tmp_path / "hcl", ACCOUNT) / "cdk.tf").read_text()
    for kind in ("resource", "data"):
        there = {tuple(found) for found in re.findall(rf'^{kind} "(\w+)" "([\w-]+)" \{{$', text, re.MULTILINE)}
        assert there == {(type_, id_) for type_, made in stack[kind].items() for id_ in made}
    outputs = dict(re.findall(r'^output "(\w+)" \{\n(?:.*\n)*?\s*description\s*= "(.+)"$', text, re.MULTILINE))
    assert outputs == {output: values["description"] for output, values in stack["output"].items()}
    versions = (tmp_path / "cdktf.out/stacks/test/versions.tf").read_text()
    assert (tmp_path / "hcl/stacks/test/versions.tf").read_text() == versions
    assert f'bucket = "{stack["terraform"]["backend"]["s3"]["bucket"]}"' in text
    protected = json.dumps(stack["resource"]).count('"prevent_destroy": true')
    assert len(re.findall(r"prevent_destroy\s*= true", text)) == protected > 0
    # People read it: no quoted references, no JSON in one line.
    assert re.findall(r'^\s*\w+ = "\$\{[^"{}]+\}"$', text, re.MULTILINE) == []
    assert re.findall(r'^\s*"aws_\w+\.[\w-]+",?$', text, re.MULTILINE) == []
    assert max(len(line) for line in text.splitlines() if "jsonencode" in line) < 120


@pytest.mark.thorough
@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_cdktn_synthesises_the_same_but_for_the_providers_version(synth: Synth, tmp_path: Path, name: str) -> None:
    if not CDKTN.exists():
        pytest.skip("cdktn is not installed: make setup-cdktn")
    ours = synth(VARIANTS[name], account=ACCOUNT)
    copy = tmp_path / "copy"
    for package in ("stacks", "kcl_worker", "cloud", "contract", "audit", "environments", "requirements"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("main.py", "Dockerfile", ".dockerignore"):
        shutil.copy(ROOT / file, copy)
    [replace] = [command for command in commands("`cdktn`") if command.startswith("sed ")]
    subprocess.run(["bash", "-c", replace], cwd=copy, check=True)
    code = (
        "import json, sys; from pathlib import Path\n"
        "from stacks.app import synthesise; from stacks.config import Config\n"
        "synthesise(Config.of(json.loads(sys.argv[1])), 'test', sys.argv[2], Path('out'))"
    )
    (copy / "out").mkdir()
    done = subprocess.run(
        [str(CDKTN), "-c", code, json.dumps(VARIANTS[name]), ACCOUNT],
        cwd=copy, env=os.environ | {"PYTHONPATH": str(copy)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    theirs = json.loads((copy / "out/stacks/test/cdk.tf.json").read_text())
    assert theirs["terraform"]["required_providers"]["aws"].pop("version").startswith("6.")
    assert ours["terraform"]["required_providers"]["aws"].pop("version").startswith("5.")
    assert uncommented(theirs) == uncommented(ours)


def uncommented(value: Any) -> Any:
    """Without what CDKTF notes for itself, such as its own version."""
    if isinstance(value, dict):
        return {key: uncommented(inner) for key, inner in value.items() if key != "//"}
    return [uncommented(inner) for inner in value] if isinstance(value, list) else value
