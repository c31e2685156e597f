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


def require_terraform(app: App) -> None:
    """Makes each stack refuse other versions of Terraform; its provider's version is CDKTF's own, to the digit.

    CDKTF's writer of HCL knows no such requirement: `finish` adds it.
    """
    for stack in app.node.children if not hcl.wanted() else ():
        if TerraformStack.is_stack(stack):
            stack.add_override("terraform.required_version", TERRAFORM)  # type: ignore[attr-defined]
            stack.add_override("terraform.required_providers.aws.source", hcl.PROVIDER)  # type: ignore[attr-defined]


def finish(folder: Path) -> None:
    """Puts the lock beside every stack in a folder of synthesised ones, and mends those in HCL."""
    for stack in (folder / "stacks").iterdir():
        shutil.copyfile(LOCK, stack / LOCK.name)
        if hcl.wanted():
            path = stack / "cdk.tf"
            path.write_text(hcl.mend(path.read_text(), TERRAFORM))
