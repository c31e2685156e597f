"""Policies of synthesised stacks as IAM reads them, checked by parliament.

    python -m tests.infra.policies cdktf.out/stacks

Those that say who may take a role are left out: parliament takes them for malformed. `.parliament.yaml` lists what is
not asked, each with its reason; parliament 1.6 itself does not look at the places that such a list names.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

import yaml

from local.processes import ROOT

PARLIAMENT: Final = ROOT / ".venv-scan/bin/parliament"
EXCEPTIONS: Final = ROOT / ".parliament.yaml"
ACCOUNT, REGION = "123456789012", "eu-central-1"
# ARNs of the resources that policies refer to: what terraform would put in the references' place.
ARNS = {
    "aws_dynamodb_table": "arn:aws:dynamodb:{region}:{account}:table/{id}",
    "aws_s3_bucket": "arn:aws:s3:::{id}",
    "aws_sqs_queue": "arn:aws:sqs:{region}:{account}:{id}",
    "aws_ecr_repository": "arn:aws:ecr:{region}:{account}:repository/{id}",
    "aws_cloudwatch_log_group": "arn:aws:logs:{region}:{account}:log-group:{id}",
    "aws_cloudwatch_event_rule": "arn:aws:events:{region}:{account}:rule/{id}",
    "aws_kinesis_stream": "arn:aws:kinesis:{region}:{account}:stream/{id}",
    "aws_kms_key": "arn:aws:kms:{region}:{account}:key/00000000-0000-0000-0000-000000000000",
    "aws_cloudwatch_event_bus": "arn:aws:events:{region}:{account}:event-bus/{id}",
    "aws_sns_topic": "arn:aws:sns:{region}:{account}:{id}",
}


def main() -> int:
    """0, or 1 with a line for each finding that has no reason."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(sys.argv[1]), Path(folder))
        left = [finding for finding in findings(Path(folder)) if not excepted(finding)]
    for finding in left:
        print(f"{finding['severity']} {file_of(finding)}: {finding['title']}: {finding['detail']}")
    print(f"parliament: {len(left)} findings without a reason in {EXCEPTIONS.name}")
    return int(bool(left))


def write(source: Path, target: Path) -> None:
    """Writes every policy into a file, and what of it has wildcards in its actions into another, `wild-…`."""
    for stack in sorted(source.glob("*/cdk.tf.json")):
        for name, document in documents(json.loads(stack.read_text())):
            for prefix, wild in (("", False), ("wild-", True)):
                if some := list(_with_actions(document["Statement"], wild=wild)):
                    text = json.dumps(document | {"Statement": some}, indent=2)
                    (target / f"{prefix}{name}.json").write_text(text)


def findings(folder: Path) -> list[dict[str, Any]]:
    """What parliament says of the policies in a folder."""
    done = subprocess.run(
        [str(PARLIAMENT), "--directory", str(folder), "--include_policy_extension", "json", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 1) or done.stderr:
        raise SystemExit(f"error: parliament: {done.stderr or done.stdout}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def file_of(finding: dict[str, Any]) -> str:
    """The name of the file that a finding is in."""
    return Path(finding["location"]["filepath"]).name


def exceptions() -> set[tuple[str, str]]:
    """Issues and the files that they are expected in."""
    listed = yaml.safe_load(EXCEPTIONS.read_text())
    return {(issue, file) for issue, files in listed.items() for file in files}


def excepted(finding: dict[str, Any]) -> bool:
    """Whether a finding has a reason."""
    return any(finding["issue"] == issue and fnmatch(file_of(finding), file) for issue, file in exceptions())


def _with_actions(statements: list[dict[str, Any]], *, wild: bool) -> Iterator[dict[str, Any]]:
    for statement in statements:
        if actions := [action for action in statement["Action"] if ("*" in action) is wild]:
            yield statement | {"Action": actions}


def documents(stack: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The stack's policy documents by name."""
    for name, document in stack["data"].get("aws_iam_policy_document", {}).items():
        statements = [_statement(statement) for statement in document["statement"]]
        if all("Resource" in statement for statement in statements):
            yield name, {"Version": "2012-10-17", "Statement": statements}


def _statement(synthesised: dict[str, Any]) -> dict[str, Any]:
    statement: dict[str, Any] = {"Effect": synthesised.get("effect", "Allow"), "Action": synthesised["actions"]}
    if "sid" in synthesised:
        statement["Sid"] = synthesised["sid"]
    if "resources" in synthesised:
        statement["Resource"] = [_resolve(resource) for resource in synthesised["resources"]]
    for who in synthesised.get("principals", []):
        names = [_resolve(name) for name in who["identifiers"]]
        statement["Principal"] = "*" if who["type"] == "*" else {who["type"]: names}
    for condition in synthesised.get("condition", []):
        values = [_resolve(value) for value in condition["values"]]
        of_test = statement.setdefault("Condition", {}).setdefault(condition["test"], {})
        of_test[condition["variable"]] = values if len(values) > 1 else values[0]  # as terraform writes it
    return statement


def _resolve(text: str) -> str:
    def value(reference: re.Match[str]) -> str:
        kind, id_, attribute = reference[1].rsplit(".", 2)
        if attribute == "account_id":
            return ACCOUNT
        return ARNS[kind].format(region=REGION, account=ACCOUNT, id=id_) if attribute == "arn" else id_

    return re.sub(r"\$\{([^}]+)\}", value, text)


if __name__ == "__main__":
    sys.exit(main())
