"""Which Terraform and which provider run a stack: the same for every operator, workflow and platform.

`environments/.terraform.lock.hcl` has the provider's hashes. `make provider-lock` writes it anew.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from cdktf import App, TerraformStack

from stacks import hcl

# The first one that locks a state in S3 without a table: use_lockfile.
# https://developer.hashicorp.com/terraform/language/backend/s3#state-locking
TERRAFORM: Final = ">= 1.10.0, < 2.0.0"
LOCK: Final = Path(__file__).parent.parent / "environments" / ".terraform.lock.hcl"


def name_provider(app: App) -> None:
    """Gives each stack's provider its full name; its version is CDKTF's own, to the digit."""
    for stack in app.node.children if not hcl.wanted() else ():  # whose writer of HCL takes no such thing
        if TerraformStack.is_stack(stack):
            stack.add_override("terraform.required_providers.aws.source", hcl.PROVIDER)  # type: ignore[attr-defined]


def finish(folder: Path) -> None:
    """Puts the lock and the version of Terraform beside every stack in a folder, and mends those in HCL.

    The version has a file of its own, because neither CDKTF's writer of HCL nor checkov's reader of JSON knows it.
    """
    for stack in (folder / "stacks").iterdir():
        shutil.copyfile(LOCK, stack / LOCK.name)
        (stack / "versions.tf").write_text(f'terraform {{\n  required_version = "{TERRAFORM}"\n}}\n')
        if hcl.wanted():
            path = stack / "cdk.tf"
            path.write_text(hcl.mend(path.read_text()))
