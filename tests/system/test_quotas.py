"""`doctor --preflight` on the embedded AWS, whose account has the quotas of a new one."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from doctor.quotas import Needs
from local.permissions import enforcement
from local.processes import ROOT, Aws
from local.resources import aws_environment
from stacks.config import Config
from stacks.needs import needs

REGION = "ap-south-1"  # no other test uses its network


def preflight(aws: Aws, folder: Path, values: dict[str, Any], **env: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit status and findings, by what the quota is of."""
    path = folder / "needs.json"
    path.write_text(json.dumps(needs(Config.of({"region": REGION} | values))))
    done = subprocess.run(
        [sys.executable, "-m", "doctor", "--json", "--preflight", "--needs", str(path)],
        cwd=ROOT, env=aws_environment(aws.url) | env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    found = [finding for finding in json.loads(done.stdout) if finding["hop"] == "quota"]
    return done.returncode, {finding["says"].partition(" at its")[0].split(" ", 5)[-1]: finding for finding in found}


def client(aws: Aws, service: str) -> Any:
    return boto3.client(
        service, endpoint_url=aws.url, region_name=REGION, aws_access_key_id="local", aws_secret_access_key="local"
    )


def test_needs_are_those_that_doctor_knows() -> None:
    assert needs(Config.of({})).keys() <= {field.name for field in fields(Needs)}
    large = needs(Config.of({"stream": {"shards": 4}, "service": {"cpu": 1024}, "network": {"egress": "nat-per-zone"}}))
    # Twice the tasks of a vCPU each, while a deployment goes on.
    assert (large["vcpus"], large["shards"], large["addresses"], large["gateways_in_zone"]) == (8, 4, 2, 1)
    assert needs(Config.of({"network": {"egress": "endpoints"}}))["addresses"] == 0


@pytest.mark.thorough
def test_what_a_new_account_has_and_what_it_does_not(aws: Aws, tmp_path: Path) -> None:
    status, found = preflight(aws, tmp_path, {})
    assert (status, {finding["verdict"] for finding in found.values()}) == (0, {"well"}), found
    assert found.keys() == {"vCPUs of Fargate", "shards", "VPCs", "elastic addresses", "NAT gateways in a zone"}
    # Four tasks of a vCPU, and four new ones beside them, are more than the six that a new account may have.
    status, found = preflight(aws, tmp_path, {"stream": {"shards": 4}, "service": {"cpu": 1024}})
    assert (status, found["vCPUs of Fargate"]["verdict"]) == (1, "wrong")
    assert found["vCPUs of Fargate"]["says"].startswith("8 of at most 6 vCPUs of Fargate")
    assert found["vCPUs of Fargate"]["advice"]
    status, found = preflight(aws, tmp_path, {"stream": {"mode": "ON_DEMAND"}})
    assert "streams on demand" in found


@pytest.mark.thorough
def test_what_is_in_use_counts(aws: Aws, tmp_path: Path) -> None:
    ec2, cloudwatch = client(aws, "ec2"), client(aws, "cloudwatch")
    held = [ec2.allocate_address(Domain="vpc")["AllocationId"] for _ in range(5)]
    dimensions = {"Class": "Standard/OnDemand", "Resource": "vCPU", "Service": "Fargate", "Type": "Resource"}
    metric = {
        "MetricName": "ResourceCount", "Value": 5.5, "Timestamp": datetime.now(UTC),
        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
    }  # fmt: skip
    cloudwatch.put_metric_data(Namespace="AWS/Usage", MetricData=[metric])
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    gateway = ec2.create_nat_gateway(SubnetId=subnet, AllocationId=held[0])["NatGateway"]["NatGatewayId"]
    try:
        status, found = preflight(aws, tmp_path, {})
        assert status == 0  # whose they are, nobody knows
        assert found["elastic addresses"]["verdict"] == "unsure"
        assert found["vCPUs of Fargate"]["says"].endswith("5.5 are in use")
        assert found["vCPUs of Fargate"]["verdict"] == "unsure"
        assert found["NAT gateways in a zone"]["says"].endswith("; 1 are in use")
    finally:
        ec2.delete_nat_gateway(NatGatewayId=gateway)
        for address in held:
            ec2.release_address(AllocationId=address)


@pytest.mark.thorough
def test_without_the_right_a_quota_is_skipped_and_says_so(aws: Aws, tmp_path: Path) -> None:
    iam = client(aws, "iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    env = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    with enforcement(aws.url):
        _, found = preflight(aws, tmp_path, {}, **env)
    assert {finding["verdict"] for finding in found.values()} == {"skipped"}
    assert any("servicequotas:GetServiceQuota" in finding["says"] for finding in found.values())


@pytest.mark.parametrize(
    "text",
    [
        '{"region": "x", "vcpus": NaN}',
        *(
            pytest.param(text, marks=pytest.mark.thorough)
            for text in (
                "[]", "not JSON", "{}", '{"region": "eu-central-1", "vcpus": "many"}', '{"region": "x", "vcpus": -1}',
                f'{{"region": "x", "vcpus": 1{"0" * 400}}}', "[" * 100_000,
            )
        ),
    ],
)  # fmt: skip
def test_other_files_are_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "needs.json"
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "doctor", "--needs", str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"--needs: {path}: not what" in done.stderr
