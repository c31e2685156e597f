"""GitHub's workflows: their permissions, and the existence of what they call."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml

from local.processes import ROOT

WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github/workflows").glob("*.yml")}


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in WORKFLOWS[name]["jobs"].values() for step in job["steps"]]


def test_there_are_tests_a_plan_and_a_deployment() -> None:
    assert set(WORKFLOWS) == {"test", "plan", "deploy", "drift"}


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_what_they_run_is_in_the_makefile(name: str) -> None:
    scripts = "\n".join(step.get("run", "") for step in steps(name))
    for command in re.findall(r"\bmake (?:-s )?([a-z-]+)", scripts):
        done = subprocess.run(["make", "-n", command], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    for script in (step["run"] for step in steps(name) if "run" in step):
        assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
        # Text from others, such as a title, never becomes part of a script.
        assert "${{" not in script


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_they_may_read_the_code_and_nothing_else_by_default(name: str) -> None:
    assert WORKFLOWS[name]["permissions"] == {"contents": "read"}
    for step in steps(name):
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False


def test_who_has_an_identity_and_who_writes_comments_and_issues() -> None:
    granted = {
        (name, permission)
        for name, workflow in WORKFLOWS.items()
        for job in workflow["jobs"].values()
        for permission, level in job.get("permissions", {}).items()
        if level == "write"
    }
    assert granted == {
        ("plan", "id-token"), ("plan", "pull-requests"), ("drift", "id-token"), ("drift", "issues"),
        ("deploy", "id-token"),
    }  # fmt: skip


def test_a_deployment_waits_for_its_environment_and_is_alone() -> None:
    [job] = WORKFLOWS["deploy"]["jobs"].values()
    environments = sorted(path.stem for path in (ROOT / "environments").glob("*.toml"))
    assert job["environment"] == "${{ matrix.environment }}"
    assert sorted(job["strategy"]["matrix"]["environment"]) == environments
    assert WORKFLOWS["deploy"]["concurrency"]["cancel-in-progress"] is False
    for name in ("plan", "drift"):
        assert sorted(WORKFLOWS[name]["jobs"][name]["strategy"]["matrix"]["environment"]) == environments


def test_a_plan_that_loses_data_stops_the_deployment_before_it_begins() -> None:
    names = [step.get("name") for step in steps("deploy")]
    assert names.index("nothing that holds data is replaced or destroyed") < names.index("deploy")


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_actions_are_commits_with_their_versions(name: str) -> None:
    text = (ROOT / f".github/workflows/{name}.yml").read_text()
    used = re.findall(r"uses: (.+)", text)
    assert len(used) == sum("uses" in step for step in steps(name)) > 0
    # Tags move; Dependabot raises both, commit and comment.
    assert [
        action for action in used if not re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)
    ] == []


def test_one_action_has_one_commit() -> None:
    used = {step["uses"] for name in WORKFLOWS for step in steps(name) if "uses" in step}
    assert len(used) == len({action.partition("@")[0] for action in used})


def test_who_has_an_identity_takes_nothing_from_a_cache() -> None:
    with_identity = [
        job
        for workflow in WORKFLOWS.values()
        for job in workflow["jobs"].values()
        if job.get("permissions", {}).get("id-token") == "write"
    ]
    assert with_identity
    for job in with_identity:
        for step in job["steps"]:
            action, inputs = step.get("uses", "").partition("@")[0], step.get("with", {})
            assert not action.startswith("actions/cache")
            assert "cache" not in inputs
            if action == "actions/setup-node":  # which caches by itself for some package managers
                assert inputs["package-manager-cache"] is False
