"""Keys of the customer's own: what they encrypt, who may use them, and in which order they come and go."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.permissions import enforcement
from local.processes import Aws
from local.resources import client
from stacks.config import Config, ConfigError
from tests.infra.conftest import ACCOUNT, Synth, Terraform
from tests.infra.test_apply import MOTO_DRIFT, connect, drift, user
from tests.infra.test_apply import role as make_role
from tests.infra.test_synth import empty_blocks, only, statements

OWN = {"encryption": {"key": "own"}}
REPLICA = {"storage": {"versioning": True, "replica_region": "eu-west-1"}}
GITHUB = {"github": {"repository": "owner/cv2kinesis"}}
ARN = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
REPLICA_ARN = ARN.replace("eu-central-1", "eu-west-1")
DATA = "${aws_kms_key.data-key.arn}"
REPLICA_DATA = "${aws_kms_key.replica-data-key.arn}"
USE = {
    f"kms:{action}"
    for action in ("Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "ReEncryptFrom", "ReEncryptTo")
}

CHANGES = {
    "EnableKeyRotation", "PutKeyPolicy", "ScheduleKeyDeletion", "TagResource", "UntagResource", "UpdateKeyDescription",
}  # fmt: skip
# What a key's policy grants to a role: name, role, actions.
GRANTS = re.compile(
    r'"Sid" = "(\w+)", "Effect" = "Allow", "Principal" = {"AWS" = "([^"]+:role/[^"]+)"}, "Action" = \["([^]]+)"\]'
)


def encrypted_with(stack: dict[str, Any]) -> dict[str, str | None]:
    """The key of each resource that holds data, by address; None where the service uses its own."""
    made, found = stack["resource"], dict[str, str | None]()
    attributes: dict[str, Callable[[dict[str, Any]], str | None]] = {
        "aws_kinesis_stream": lambda r: r["kms_key_id"],
        "aws_sqs_queue": lambda r: r.get("kms_master_key_id"),
        "aws_dynamodb_table": lambda r: r["server_side_encryption"].get("kms_key_arn"),
        "aws_cloudwatch_log_group": lambda r: r.get("kms_key_id"),
        "aws_ecr_repository": lambda r: r["encryption_configuration"][0].get("kms_key"),
        "aws_s3_bucket_server_side_encryption_configuration": lambda r: r["rule"][0][
            "apply_server_side_encryption_by_default"
        ].get("kms_master_key_id"),
    }
    for kind, attribute in attributes.items():
        found |= {f"{kind}.{id_}": attribute(resource) for id_, resource in made[kind].items()}
    # What EventBridge puts aside by itself has no key of one's own: `stacks/bus.py`.
    return {address: key for address, key in found.items() if ".event-dead-letters-" not in address}


def test_the_services_own_keys_are_the_default(synth: Synth) -> None:
    stack = synth(REPLICA)
    assert set(encrypted_with(stack).values()) == {None, "alias/aws/kinesis"}
    assert set(stack["resource"]["aws_kms_key"]) == {"alarms-key"}
    for role in ("task", "execution", "replication"):
        assert not any(
            a.startswith("kms:") for s in statements(stack, f"{role}-permissions").values() for a in s["actions"]
        )


@pytest.mark.parametrize(
    ("encryption", "data", "copy"),
    [
        ({"key": "own"}, DATA, REPLICA_DATA),
        pytest.param({"key": ARN, "replica_key": REPLICA_ARN}, ARN, REPLICA_ARN, marks=pytest.mark.thorough),
    ],
    ids=["own", "existing"],
)
def test_one_key_encrypts_all_that_holds_data(synth: Synth, encryption: dict[str, str], data: str, copy: str) -> None:
    stack = synth({"encryption": encryption} | REPLICA)
    found = encrypted_with(stack)
    assert found.pop("aws_s3_bucket_server_side_encryption_configuration.replica-encryption") == copy
    assert set(found.values()) == {data}
    assert len(found) == 1 + 5 + 3 + 2 + 1 + 1
    resources = stack["resource"]
    # SQS takes one kind of encryption, and S3 asks KMS for each object unless the bucket has a key.
    assert all("sqs_managed_sse_enabled" not in queue for queue in resources["aws_sqs_queue"].values())
    for bucket in resources["aws_s3_bucket_server_side_encryption_configuration"].values():
        [rule] = bucket["rule"]
        assert rule["bucket_key_enabled"] is True
        assert rule["apply_server_side_encryption_by_default"]["sse_algorithm"] == "aws:kms"
    [rule] = only(stack, "aws_s3_bucket_replication_configuration")["rule"]
    assert rule["source_selection_criteria"] == {"sse_kms_encrypted_objects": {"status": "Enabled"}}
    assert rule["destination"]["encryption_configuration"] == {"replica_kms_key_id": copy}
    assert empty_blocks(resources) == []
    if data == ARN:
        assert set(resources["aws_kms_key"]) == {"alarms-key"}


def test_the_key_turns_stays_and_serves_the_logs(synth: Synth) -> None:
    resources = synth(OWN | REPLICA | {"suffix": "-prod"})["resource"]
    for id_ in ("data-key", "replica-data-key"):
        key = resources["aws_kms_key"][id_]
        assert (key["enable_key_rotation"], key["deletion_window_in_days"]) == (True, 30)
        assert key["lifecycle"] == {"prevent_destroy": True}
        assert ":root" in key["policy"]
        alias = resources["aws_kms_alias"][f"{id_}-alias"]
        assert (alias["name"], alias.get("provider")) == ("alias/cv2kinesis-prod", key.get("provider"))
    assert resources["aws_kms_key"]["replica-data-key"]["provider"] == "aws.replica"
    policy = resources["aws_kms_key"]["data-key"]["policy"]
    assert '"Principal" = {"Service" = "logs.eu-central-1.amazonaws.com"}' in policy
    groups = policy.partition('"kms:EncryptionContext:aws:logs:arn" = [')[2].partition("]")[0]
    names = {group["name"] for group in resources["aws_cloudwatch_log_group"].values()}
    assert {name for name in names if f":log-group:{name}" in groups} == names


def test_each_role_may_use_the_key_through_the_services_that_it_calls(synth: Synth) -> None:
    stack = synth(OWN | REPLICA)
    [condition] = statements(stack, "task-permissions")["Keys"]["condition"]
    task = statements(stack, "task-permissions")["Keys"]
    assert (set(task["actions"]), task["resources"]) == (USE, [DATA])
    assert condition == {
        "test": "StringEquals",
        "variable": "kms:ViaService",
        "values": [f"{service}.eu-central-1.amazonaws.com" for service in ("dynamodb", "kinesis", "s3", "sqs")],
    }
    # ECR and CloudWatch Logs use the key by grant and by its policy.
    assert not any(
        a.startswith("kms:") for s in statements(stack, "execution-permissions").values() for a in s["actions"]
    )
    copy = statements(stack, "replication-permissions")
    for sid, action, key, region in (
        ("ReadKey", "kms:Decrypt", DATA, "eu-central-1"), ("CopyKey", "kms:Encrypt", REPLICA_DATA, "eu-west-1"),
    ):  # fmt: skip
        assert (copy[sid]["actions"], copy[sid]["resources"]) == ([action], [key])
        assert copy[sid]["condition"][0]["values"] == [f"s3.{region}.amazonaws.com"]


@pytest.mark.parametrize("own", [True, False], ids=["own", "existing"])
def test_githubs_roles_make_and_use_these_keys_alone(synth: Synth, tmp_path: Path, own: bool) -> None:
    encryption = {"key": "own"} if own else {"key": ARN, "replica_key": REPLICA_ARN}
    pipeline = synth({"encryption": encryption, "suffix": "-prod"} | REPLICA | GITHUB, account=ACCOUNT)
    github = json.loads((tmp_path / "cdktf.out/stacks/github/cdk.tf.json").read_text())
    deploy, boundary = (statements(github, f"{name}-permissions") for name in ("deploy", "boundary"))
    for found, more in ((deploy, {"kms:CreateGrant", "kms:RetireGrant"}), (boundary, set[str]())):
        for number, region in enumerate(("eu-central-1", "eu-west-1")):
            statement = found[f"UseKeys{number}"]
            assert set(statement["actions"]) == USE | more
            conditions = {c["variable"]: c["values"] for c in statement["condition"]}
            assert all(service.endswith(f".{region}.amazonaws.com") for service in conditions.pop("kms:ViaService"))
            if own:
                assert statement["resources"] == [f"arn:aws:kms:{region}:{ACCOUNT}:key/*"]
                assert conditions == {"aws:ResourceTag/pipeline": ["cv2kinesis-prod"]}
            else:
                assert statement["resources"] == [ARN if region == "eu-central-1" else REPLICA_ARN]
                assert conditions == {}
    # Each role stays within the boundary.
    within = {action for statement in boundary.values() for action in statement["actions"]}
    for role in ("task", "replication"):
        needed = {a for s in statements(pipeline, f"{role}-permissions").values() for a in s["actions"]}
        assert {action for action in needed if action.startswith("kms:")} <= within
    regions = ["eu-central-1", "eu-west-1"] if own else ["eu-central-1"]
    assert deploy["ChangeKeys"]["resources"] == [f"arn:aws:kms:{region}:{ACCOUNT}:key/*" for region in regions]
    assert ("NameKeys" in deploy) == own
    # Plans read no data.
    plan = {action for statement in statements(github, "plan-permissions").values() for action in statement["actions"]}
    assert {action for action in plan if action.startswith("kms:")} == {
        "kms:DescribeKey", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListAliases", "kms:ListResourceTags",
    }  # fmt: skip


def test_the_role_that_makes_a_key_may_change_and_use_it_at_once(synth: Synth) -> None:
    """By the key's own policy: what the role's policies say of tags counts up to five minutes later."""
    keys = synth(OWN | REPLICA | GITHUB | {"suffix": "-prod"}, account=ACCOUNT)["resource"]["aws_kms_key"]
    made = {"data-key": "eu-central-1", "replica-data-key": "eu-west-1", "alarms-key": ""}
    assert keys.keys() == made.keys()
    for id_, region in made.items():
        found = {sid: (principal, actions) for sid, principal, actions in GRANTS.findall(keys[id_]["policy"])}
        assert found.keys() == ({"Change", "Use"} if region else {"Change"})
        assert {principal.rpartition("/")[2] for principal, _ in found.values()} == {"cv2kinesis-deploy-prod"}
        assert set(found["Change"][1].split('", "')) == {f"kms:{action}" for action in CHANGES}
        if region:
            assert set(found["Use"][1].split('", "')) == USE | {"kms:CreateGrant", "kms:RetireGrant"}
            through = keys[id_]["policy"].partition('"kms:ViaService" = ["')[2].partition('"]')[0].split('", "')
            assert all(service.endswith(f".{region}.amazonaws.com") for service in through)
    # Without GitHub there is no such role, and a policy that names it would be refused.
    for key in synth(OWN | REPLICA)["resource"]["aws_kms_key"].values():
        assert GRANTS.findall(key["policy"]) == []


def test_the_deploy_role_changes_its_environments_keys_alone(synth: Synth, tmp_path: Path, aws: Aws) -> None:
    """Its policy, enforced."""
    synth(OWN | GITHUB | {"suffix": "-prod"}, account=ACCOUNT)
    github = json.loads((tmp_path / "cdktf.out/stacks/github/cdk.tf.json").read_text())
    administrator, policy = user(aws, "administrator", "*"), in_iams_form(github, "deploy-permissions")
    credentials = make_role(aws, administrator, "deploy", policy)
    kms, deploy = client("kms", aws.url), connect(aws, "kms", credentials, Config.of({}).region)
    others = {
        "tagged": make_key(kms, pipeline="cv2kinesis"),
        "named": make_key(kms, "payroll"),
        "both": make_key(kms, "cv2kinesis", pipeline="cv2kinesis"),
    }
    mine = [{"TagKey": "pipeline", "TagValue": "cv2kinesis-prod"}]
    changes: dict[str, Callable[[str], Any]] = {
        "policy": lambda key: deploy.put_key_policy(KeyId=key, PolicyName="default", Policy="{}"),
        "rotation": lambda key: deploy.enable_key_rotation(KeyId=key),
        "description": lambda key: deploy.update_key_description(KeyId=key, Description="mine"),
        "tag": lambda key: deploy.tag_resource(KeyId=key, Tags=mine),
        "untag": lambda key: deploy.untag_resource(KeyId=key, TagKeys=["environment"]),
        "deletion": lambda key: deploy.schedule_key_deletion(KeyId=key, PendingWindowInDays=7),
    }
    with enforcement(aws.url):
        assert not is_allowed(lambda: make_key(deploy))
        assert not is_allowed(lambda: make_key(deploy, pipeline="cv2kinesis"))
        assert not is_allowed(lambda: make_key(deploy, "payroll-2", pipeline="cv2kinesis-prod"))
        own = make_key(deploy, "cv2kinesis-prod", pipeline="cv2kinesis-prod")
        for what, change in changes.items():
            allowed = {name for name, key in (others | {"own": own}).items() if is_allowed(partial(change, key))}
            assert (what, allowed) == (what, {"own"})


def in_iams_form(stack: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The statements of a synthesised policy."""
    return [
        {
            "Effect": statement.get("effect", "Allow"),
            "Action": statement["actions"],
            "Resource": statement["resources"],
            "Condition": _conditions(statement),
        }
        for statement in statements(stack, name).values()
    ]


def _conditions(statement: dict[str, Any]) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for condition in statement.get("condition", []):
        found.setdefault(condition["test"], {})[condition["variable"]] = condition["values"]
    return found


def make_key(kms: Any, alias: str = "", **tags: str) -> str:
    """A key with an alias and tags; gives its ID."""
    made = kms.create_key(Tags=[{"TagKey": key, "TagValue": value} for key, value in tags.items()])
    if alias:
        kms.create_alias(AliasName=f"alias/{alias}", TargetKeyId=made["KeyMetadata"]["KeyId"])
    return str(made["KeyMetadata"]["KeyId"])


def is_allowed(call: Callable[[], Any]) -> bool:
    """Whether IAM allows a call."""
    try:
        call()
    except ClientError as error:
        assert error.response["Error"]["Code"] == "AccessDeniedException", error
        return False
    return True


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"encryption": {"key": "mine"}}, "encryption.key: 'mine'"),
        ({"encryption": {"key": REPLICA_ARN}}, "encryption.key: the key is in eu-west-1, but eu-central-1 is needed"),
        ({"encryption": {"key": ARN}} | REPLICA, "encryption.replica_key: frames are copied to another region"),
        ({"encryption": {"key": ARN, "replica_key": ARN}} | REPLICA, "is in eu-central-1, but eu-west-1 is needed"),
        ({"encryption": {"replica_key": ARN}}, "encryption.replica_key: needs an ARN as `encryption.key`"),
    ],
)
def test_a_key_that_cannot_serve_is_refused(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Config.of(values)


@pytest.mark.thorough
def test_a_deployment_with_every_choice(
    synth: Synth, terraform: Callable[[str], Terraform], aws: Aws, tmp_path: Path
) -> None:
    """Own keys, a replica, a budget, Spot and no balancer: applied, looked at, changed and destroyed."""
    values: dict[str, Any] = (
        OWN
        | REPLICA
        | {
            "suffix": "-keys",
            "alarms": {"budget": 250},
            "service": {"spot": True, "on_demand_base": 1, "balancer": False},
            "network": {"egress": "endpoints"},
        }
    )
    synth()  # skips without node
    from stacks.app import synthesise

    def synthesised(**service: Any) -> Terraform:
        config = Config.of(values | {"service": values["service"] | service})
        synthesise(config, "test", None, tmp_path / "cdktf.out", protected=False)
        return terraform("test")

    stack = synthesised()
    stack.init()
    made = stack.run("apply", "-auto-approve", "-input=false", "-no-color").stdout
    assert drift(stack) == {}
    keys = {"aws_kms_key.data-key", "aws_kms_key.replica-data-key"}
    encrypted = set(encrypted_with(json.loads((stack.folder / "cdk.tf.json").read_text())))
    for key in keys:
        assert f"{key}: Creation complete" in made
    before, _, _ = made.partition("aws_kms_key.data-key: Creation complete")
    assert {address for address in encrypted if f"{address}: Creating..." in before} <= {
        "aws_s3_bucket_server_side_encryption_configuration.replica-encryption"
    }

    # The services were told, and hold the key.
    kms, account = client("kms", aws.url), ACCOUNT
    arn = kms.describe_key(KeyId="alias/cv2kinesis-keys")["KeyMetadata"]["Arn"]
    assert kms.get_key_rotation_status(KeyId=arn)["KeyRotationEnabled"]
    queue = client("sqs", aws.url).get_queue_url(QueueName="processing-results-keys")["QueueUrl"]
    attributes = client("sqs", aws.url).get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert attributes["KmsMasterKeyId"] == arn
    s3, bucket = client("s3", aws.url), f"processedframes-{account}-eu-central-1-keys"
    [rule] = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == arn
    stream = client("kinesis", aws.url).describe_stream(StreamName="cv2kinesis-keys")["StreamDescription"]
    assert stream["KeyId"] == arn

    # More or fewer tasks on demand are an update.
    fewer = synthesised(on_demand_base=0).planned()
    assert fewer["aws_ecs_service.service"]["actions"] == ["update"]
    assert "capacity_provider_strategy" in fewer["aws_ecs_service.service"]["attributes"]
    assert set(fewer) <= {"aws_ecs_service.service", *MOTO_DRIFT}

    # A service that leaves Spot is replaced, and its scaling with it; nothing that holds data is.
    replaced = {
        address
        for address, c in synthesised(spot=False, on_demand_base=0).planned().items()
        if "delete" in c["actions"]
    }
    assert {address.partition(".")[0] for address in replaced} == {
        "aws_ecs_service", "aws_ecs_cluster_capacity_providers", "aws_appautoscaling_target",
        "aws_appautoscaling_policy", "aws_appautoscaling_scheduled_action",
    }  # fmt: skip

    stack = synthesised()
    gone = stack.run("destroy", "-auto-approve", "-no-color").stdout
    begin = gone.index("aws_kms_key.data-key: Destroying...")
    assert [address for address in encrypted if f"{address}: Destruction complete" in gone[begin:]] == []
    assert kms.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"] == "PendingDeletion"
