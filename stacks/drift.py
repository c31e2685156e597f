"""How what is deployed differs from what this checkout says: not deployed yet, or changed by others."""

from __future__ import annotations

from typing import Any

from stacks.summary import markdown, planned


def report(plan: dict[str, Any], environment: str) -> str:
    """Markdown on a plan that changes something.

    Args:
        plan: What `terraform show -json` prints of it.
    """
    changes = planned(plan)
    changed = {str(resource["address"]) for kind in changes.values() for resource in kind}
    # Terraform also lists what only looks different, such as a number of tasks that scaling sets.
    others = sorted({str(found["address"]) for found in plan.get("resource_drift", [])} & changed)
    lines = [markdown(changes, environment), ""]
    if others:
        lines += ["Changed or deleted since the last deployment, and not by Terraform:", ""]
        lines += [f"- `{address}`" for address in others]
    else:
        lines += ["Nobody has changed what is deployed: this is what a deployment would bring."]
    return "\n".join([*lines, "", f"`make deploy ENVIRONMENT={environment}` makes it what the code says."])
