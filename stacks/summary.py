"""A plan in a few lines, as a comment on a pull request.

    terraform show -json plan | python -m stacks.summary --title dev

Resources that hold data and would be replaced or destroyed come first. Exit status 3 tells programs so.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from typing import Any, Final

# Resources that hold data: frames, records, messages, checkpoints, images, logs, the state itself.
STATEFUL: Final = frozenset({
    "aws_cloudwatch_log_group", "aws_dynamodb_table", "aws_ecr_repository", "aws_kinesis_stream", "aws_kms_key",
    "aws_s3_bucket", "aws_sqs_queue",
})  # fmt: skip
KINDS: Final = {
    ("create",): "create",
    ("update",): "change",
    ("delete", "create"): "replace",
    ("create", "delete"): "replace",
    ("delete",): "destroy",
}
SIGNS: Final = {"create": "+", "change": "~", "replace": "-/+", "destroy": "-"}
DATA_AT_RISK_STATUS: Final = 3


def main() -> int:
    """Gives 0, or 3 if data would be lost; 2 if the input is not a plan."""
    parser = argparse.ArgumentParser(prog="stacks.summary", description="a terraform plan as Markdown, from its JSON")
    parser.add_argument("--title", default="", help="the environment's name")
    args = parser.parse_args()
    try:
        plan = json.load(sys.stdin)
        changes = planned(plan)
    except (ValueError, KeyError, TypeError) as error:
        print(f"error: not the JSON of a plan (terraform show -json): {error}", file=sys.stderr)
        return 2
    print(markdown(changes, args.title))
    return DATA_AT_RISK_STATUS if at_risk(changes) else 0


def planned(plan: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The changes of a plan by kind: create, change, replace, destroy.

    Raises:
        KeyError: If it is not a plan.
    """
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    _ = plan["format_version"]
    for resource in plan.get("resource_changes", []):
        kind = KINDS.get(tuple(resource["change"]["actions"]))
        if kind and resource.get("mode", "managed") == "managed":
            found[kind].append(resource)
    return dict(found)


def changes_anything(plan: dict[str, Any]) -> bool:
    """Whether a plan changes a resource or an output."""
    actions = [change["change"]["actions"] for change in plan.get("resource_changes", [])]
    actions += [change["actions"] for change in plan.get("output_changes", {}).values()]
    return any(each not in (["no-op"], ["read"]) for each in actions)


def at_risk(changes: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Addresses of resources whose data would be lost."""
    lost = changes.get("replace", []) + changes.get("destroy", [])
    return sorted(resource["address"] for resource in lost if resource["type"] in STATEFUL)


def markdown(changes: dict[str, list[dict[str, Any]]], title: str = "") -> str:
    """The comment."""
    counts = ", ".join(f"{len(changes[kind])} to {kind}" for kind in SIGNS if kind in changes) or "no changes"
    lines = [f"### Terraform plan{f' for `{title}`' if title else ''}: {counts}", ""]
    if risk := at_risk(changes):
        lines += ["> [!CAUTION]", "> **Data would be lost.** Replaced or destroyed with what is in them:"]
        lines += [f"> - `{address}`" for address in risk] + [""]
    for kind in ("destroy", "replace", "change", "create"):
        if kind in changes:
            lines += _section(kind, changes[kind])
    return "\n".join(lines).rstrip()


def _section(kind: str, resources: list[dict[str, Any]]) -> list[str]:
    rows = [f"{SIGNS[kind]} {_describe(kind, r)}" for r in sorted(resources, key=lambda r: str(r["address"]))]
    folded = kind == "create"  # long at the first deployment, but harmless
    opening = "<details>" if folded else "<details open>"
    return [f"{opening}<summary>{len(rows)} to {kind}</summary>", "", "```diff", *rows, "```", "</details>", ""]


def _describe(kind: str, resource: dict[str, Any]) -> str:
    change = resource["change"]
    if kind == "replace":
        causes = sorted({str(path[0]) for path in change.get("replace_paths", []) if path})
        return f"{resource['address']}  (because of {', '.join(causes)})" if causes else str(resource["address"])
    if kind == "change":
        before, after, unknown = change["before"] or {}, change["after"] or {}, change.get("after_unknown") or {}
        # Names only: values may be secret.
        names = {n for n in {*before, *after} if before.get(n) != after.get(n)} | {n for n in unknown if unknown[n]}
        return f"{resource['address']}  ({', '.join(sorted(names))})"
    return str(resource["address"])


if __name__ == "__main__":
    sys.exit(main())
