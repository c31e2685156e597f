"""Synthesis in this process (needs node), Terraform against the embedded AWS (needs terraform)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from local.processes import ROOT, Aws, Program
from local.resources import aws_environment
from stacks.config import Config

Synth = Callable[..., dict[str, Any]]
ACCOUNT = "123456789012"  # the embedded AWS's account


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[Aws]:
    """An account of its own: names of IAM and the identity provider are the whole account's."""
    with Aws(log=tmp_path / "aws.log") as server:
        yield server


@pytest.fixture(scope="session")
def synthesised(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str | None], Path]:
    """Gives the folder of a configuration's stacks; many tests look at the same one."""

    @cache
    def run(values: str, account: str | None) -> Path:
        from stacks.app import synthesise

        folder = tmp_path_factory.mktemp("synthesised")
        synthesise(Config.of(json.loads(values)), "test", account, folder)
        return folder

    return run


@pytest.fixture
def synth(tmp_path: Path, synthesised: Callable[[str, str | None], Path]) -> Synth:
    """Synthesises a configuration into `cdktf.out`; gives the stack's JSON."""
    if not shutil.which("node"):
        pytest.skip("node is not installed; CDK for Terraform needs it")

    def run(values: dict[str, Any] | None = None, account: str | None = None) -> dict[str, Any]:
        folder = tmp_path / "cdktf.out"
        shutil.copytree(synthesised(json.dumps(values or {}), account), folder, dirs_exist_ok=True)
        stack: dict[str, Any] = json.loads((folder / "stacks/test/cdk.tf.json").read_text())
        return stack

    return run


def synthesise_hcl(values: dict[str, Any], folder: Path, account: str | None = None) -> Path:
    """Synthesises HCL for people; gives the stack's folder. Node reads the variable for it when it starts, so it is
    another process."""
    code = (
        "import json, sys; from pathlib import Path\n"
        "from stacks.app import synthesise; from stacks.config import Config\n"
        "print(synthesise(Config.of(json.loads(sys.argv[1])), 'test', sys.argv[2] or None, Path(sys.argv[3])))"
    )
    if not shutil.which("node"):
        pytest.skip("node is not installed; CDK for Terraform needs it")
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(values), account or "", str(folder)],
        cwd=ROOT, env=os.environ | {"SYNTH_HCL_OUTPUT": "true"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def skip_without_provider(text: str) -> None:
    """Skips if that is what terraform complains of; any other failure is one of the test."""
    for line in text.splitlines():
        if "Failed to query available provider packages" in line or "Failed to install provider" in line:
            pytest.skip("the AWS provider cannot be installed")
        if "problems with the CLI configuration" in line:
            pytest.skip("TF_CLI_CONFIG_FILE names no configuration")


class Terraform:
    """The real terraform in a synthesised stack's folder, on the embedded AWS.

    Args:
        program: Another that takes the same commands.
        variables: Of its environment.

    Attributes:
        credentials: Variables of who runs the commands, over those of an administrator.
    """

    def __init__(
        self, folder: Path, aws: Aws, program: str = "terraform", variables: dict[str, str] | None = None
    ) -> None:
        self.folder, self._program = folder, program
        common = {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
        self._env = aws_environment(aws.url) | common | (variables or {})
        self.credentials: dict[str, str] = {}

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a command; fails the test with its output when it fails."""
        env = self._env | self.credentials
        done = subprocess.run(
            [self._program, *arguments], cwd=self.folder, env=env, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            pytest.fail(f"{self._program} {arguments[0]}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done

    def init(self) -> None:
        """Installs the locked provider; skips if it cannot be had."""
        done = self.run("init", "-input=false", "-lockfile=readonly", "-no-color", check=False)
        skip_without_provider(done.stderr)
        assert done.returncode == 0, done.stderr

    def apply(self, *arguments: str) -> None:
        self.run("apply", "-auto-approve", "-input=false", "-no-color", *arguments)

    def planned(self) -> dict[str, dict[str, Any]]:
        """What a plan would change: the actions and differing attributes by address."""
        self.run("plan", "-input=false", "-no-color", "-out=plan")
        plan = json.loads(self.run("show", "-json", "plan").stdout)
        changes = {}
        for change in plan["resource_changes"]:
            actions = change["change"]["actions"]
            if actions in (["no-op"], ["read"]):
                continue
            before, after = change["change"]["before"] or {}, change["change"]["after"] or {}
            unknown = change["change"]["after_unknown"] or {}
            names = {name for name in {*before, *after} if before.get(name) != after.get(name)} | set(unknown)
            changes[change["address"]] = {"actions": actions, "attributes": {n for n in names if n != "id"}}
        return changes

    def state(self) -> list[str]:
        return self.run("state", "list").stdout.split()


@pytest.fixture
def terraform(tmp_path: Path, aws: Aws) -> Callable[[str], Terraform]:
    """Terraform in the folder of a synthesised stack."""
    if not shutil.which("terraform"):
        pytest.skip("terraform is not installed")
    return lambda stack: Terraform(tmp_path / "cdktf.out" / "stacks" / stack, aws)


class Checkout:
    """An operator's copy of the project, for its own cdktf.out and its own environment."""

    def __init__(self, folder: Path, aws: Aws, region: str) -> None:
        self.folder, self.region = folder, region
        for name in (
            "stacks",
            "environments",
            "kcl_worker",
            "cloud",
            "contract",
            "producer",
            "terminal",
            "audit",
            "requirements",
        ):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("main.py", "Dockerfile", ".dockerignore"):
            shutil.copy(ROOT / name, folder)
        self.env = aws_environment(aws.url) | {
            "ENVIRONMENT": "own", "AWS_REGION": region, "AWS_DEFAULT_REGION": region, "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
        }  # fmt: skip
        self.stack = Terraform(folder / "cdktf.out" / "stacks" / "own", aws)

    def configure(self, text: str) -> None:
        """Writes the environment's file."""
        (self.folder / "environments" / "own.toml").write_text(f'region = "{self.region}"\n{text}')

    def run(self, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """An operator's command."""
        return subprocess.run(
            [sys.executable, "-m", "stacks.cli", *arguments],
            cwd=self.folder, env=self.env | (env or {}), capture_output=True, text=True, check=False,
        )  # fmt: skip

    def start(self, *arguments: str) -> Program:
        """An operator's command that goes on; its errors go to `errors.log`."""
        command = [sys.executable, "-m", "stacks.cli", *arguments]
        log = self.folder / "errors.log"
        return Program(arguments[0], command, env=self.env | {"PYTHONUNBUFFERED": "1"}, cwd=self.folder, log=log)

    def succeed(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        """A command that must succeed; gives what it prints."""
        done = self.run(*arguments, env=env)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout


@pytest.fixture
def checkout(tmp_path: Path, aws: Aws) -> Callable[[str], Checkout]:
    """A checkout for a region."""
    for tool in ("node", "terraform"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")
    return lambda region: Checkout(tmp_path, aws, region)
