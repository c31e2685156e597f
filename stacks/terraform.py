"""The terraform command in a synthesised stack's folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from stacks.errors import DeployError

# https://developer.hashicorp.com/terraform/cli/commands/plan#detailed-exitcode
DIFFERENT_STATUS: Final = 2


class Terraform:
    """Commands on this terminal; the first command that needs the state initialises the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def init(self) -> None:
        """Installs the provider that the lock allows, and no other, and finds the state.

        Raises:
            DeployError: If it fails; terraform has printed why.
        """
        done = self._run("init", "-input=false", "-reconfigure", "-lockfile=readonly", capture=True)
        if done.returncode:
            print(done.stdout + done.stderr)
            raise DeployError("terraform init failed, see above")

    def __call__(self, *arguments: str) -> int:
        """Runs a command; gives its status."""
        return self._run(*arguments).returncode

    def differs(self, plan: str) -> bool:
        """Whether a plan, which is saved, would change anything.

        Raises:
            DeployError: If there is none; terraform has printed why.
        """
        done = self._run("plan", "-input=false", "-no-color", "-detailed-exitcode", f"-out={plan}", capture=True)
        if done.returncode not in (0, DIFFERENT_STATUS):
            print(done.stdout + done.stderr, file=sys.stderr)
            raise DeployError("terraform plan failed, see above")
        return done.returncode == DIFFERENT_STATUS

    def output(self) -> dict[str, Any]:
        """The outputs of the applied stack, in terraform's own form.

        Raises:
            DeployError: If nothing is applied.
        """
        done = self._run("output", "-json", capture=True)
        outputs: dict[str, Any] = json.loads(done.stdout or "{}")
        if done.returncode or not outputs:
            raise DeployError("nothing is deployed here: run `make deploy`")
        return outputs

    def resources(self) -> set[str]:
        """The addresses of the resources that the state holds.

        Raises:
            DeployError: If the state cannot be read.
        """
        done = self._run("state", "list", capture=True)
        if done.returncode and "No state file" not in done.stderr:
            raise DeployError(f"the state cannot be read: {done.stderr.strip().splitlines()[-1]}")
        return set(done.stdout.split())

    def show(self, plan: str) -> dict[str, Any]:
        """Reads a saved plan.

        Raises:
            DeployError: If there is no such plan.
        """
        done = self._run("show", "-json", plan, capture=True)
        if done.returncode:
            raise DeployError(f"no plan {plan}: {done.stderr.strip().splitlines()[-1]}")
        shown: dict[str, Any] = json.loads(done.stdout)
        return shown

    def _run(self, *arguments: str, capture: bool = False) -> subprocess.CompletedProcess[str]:
        command = ["terraform", f"-chdir={self._folder}", *arguments]
        return subprocess.run(command, capture_output=capture, text=True, check=False)
