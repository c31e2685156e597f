"""What is deployed, scanned: checkov, parliament for the policies, tflint for what AWS takes.

Each failed check has a reason in `.checkov.yaml` or `.parliament.yaml`, and no reason is stale.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from local.processes import ROOT
from stacks.config import Config
from tests.infra import policies, tools
from tests.infra.conftest import ACCOUNT, Synth, synthesise_hcl

CHECKOV = ROOT / ".venv-scan/bin/checkov"
CONFIG = ROOT / ".checkov.yaml"
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "all": {
        "stream": {"shards": 4},
        "network": {"egress": "endpoints", "certificate_arn": "arn:aws:acm:eu-central-1:123456789012:certificate/x"},
        "storage": {"versioning": True, "replica_region": "eu-west-1"},
        "github": {"repository": "owner/name"},
        "service": {"spot": True, "on_demand_base": 1},
        "alarms": {"email": "ops@example.com", "budget": 100},
        "encryption": {"key": "own"},
        "sources": {"store": "events", "announce": "events", "keep_days": 3},
        "events": {
            "rules": {
                "mail": {"email": "guard@example.com", "kinds": ["appear"]},
                "hook": {"webhook": "https://example.com/events", "secret": "/cv2kinesis/hook"},
                "far": {"bus": "arn:aws:events:eu-central-1:210987654321:event-bus/theirs"},
                "near": {"queue": "arn:aws:sqs:eu-central-1:123456789012:theirs"},
            }
        },
    },
}


@pytest.mark.thorough
def test_every_failed_check_has_its_reason_and_every_reason_its_check(synth: Synth, tmp_path: Path) -> None:
    if not CHECKOV.exists():
        pytest.skip("checkov is not installed: make setup-scan")
    synth()  # skips without node
    from stacks.app import synthesise

    for name, values in VARIANTS.items():
        synthesise(Config.of(values), "test", ACCOUNT, tmp_path / name)
    shutil.copy(ROOT / "Dockerfile", tmp_path)
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    text = CONFIG.read_text()
    config = tmp_path / "without-exceptions.yaml"
    config.write_text(text.partition("skip-check:")[0])
    done = subprocess.run(
        [str(CHECKOV), "--config-file", str(config), "--directory", str(tmp_path), "--skip-download",
         "--output", "json"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ | {"LOG_LEVEL": "ERROR"},
    )  # fmt: skip
    reports = json.loads(done.stdout)
    assert {report["check_type"] for report in reports} == {"terraform_json", "dockerfile", "github_actions"}
    assert all(report["summary"]["passed"] for report in reports)
    failed = {
        check["check_id"]: check["resource"] for report in reports for check in report["results"]["failed_checks"]
    }
    excepted = re.findall(r"^  - (CKV\w+)$", text, re.MULTILINE)
    assert {check: where for check, where in failed.items() if check not in excepted} == {}
    assert [check for check in excepted if check not in failed] == []
    # Each exception stands below a reason.
    for block in re.split(r"(?<=\d)\n(?=  #)", text.partition("skip-check:\n")[2]):
        assert block.startswith("  # ")


@pytest.mark.thorough
def test_every_finding_in_a_policy_has_its_reason_and_every_reason_its_finding(synth: Synth, tmp_path: Path) -> None:
    if not policies.PARLIAMENT.exists():
        pytest.skip("parliament is not installed: make setup-scan")
    synth()  # skips without node
    from stacks.app import synthesise

    found = []
    for name, values in VARIANTS.items():
        synthesise(Config.of(values), "test", ACCOUNT, tmp_path / name)
        folder = tmp_path / f"policies-{name}"
        folder.mkdir()
        policies.write(tmp_path / name / "stacks", folder)
        found += policies.findings(folder)
    assert [finding for finding in found if not policies.excepted(finding)] == []
    needed = {(f["issue"], policies.file_of(f)) for f in found}
    stale = [
        (issue, pattern)
        for issue, pattern in policies.exceptions()
        if not any(issue == other and fnmatch(file, pattern) for other, file in needed)
    ]
    assert stale == []


@pytest.mark.thorough
def test_tflint_and_its_rules_for_aws_find_nothing(tmp_path: Path) -> None:
    if not tools.TFLINT.exists():
        pytest.skip("tflint is not there: make setup-tflint")

    def lint() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(tools.TFLINT), "--chdir", str(tmp_path), "--recursive", "--config", str(ROOT / ".tflint.hcl"),
             "--format", "compact"],
            env=os.environ | {"TFLINT_PLUGIN_DIR": str(tools.PLUGINS)}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    stacks = {name: synthesise_hcl(values, tmp_path / name, ACCOUNT) for name, values in VARIANTS.items()}
    done = lint()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    # It would find what terraform lets pass, and AWS refuses.
    path = stacks["default"] / "cdk.tf"
    text = path.read_text()
    path.write_text(text.replace('load_balancer_type = "application"', 'load_balancer_type = "applicaton"'))
    assert "aws_lb_invalid_load_balancer_type" in lint().stdout
