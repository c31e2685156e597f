"""The synthesised stack, resource by resource."""

from __future__ import annotations

import re
from typing import Any

import pytest

from benchmarks.bill import alarm_metrics, keys
from stacks import worker_variables
from stacks.config import Config
from tests.infra.conftest import ACCOUNT, Synth


def only(stack: dict[str, Any], kind: str) -> dict[str, Any]:
    [resource] = stack["resource"][kind].values()
    return dict(resource)


def statements(stack: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    document = stack["data"]["aws_iam_policy_document"][name]
    return {statement["sid"]: statement for statement in document["statement"]}


def variables(stack: dict[str, Any]) -> dict[str, str]:
    """The worker's environment variables."""
    container = only(stack, "aws_ecs_task_definition")["container_definitions"]
    return dict(re.findall(r'\{"name" = "([A-Z0-9_]+)", "value" = "?([^"}]*)"?\}', container))


def empty_blocks(value: Any, path: str = "") -> list[str]:
    """Places of empty dictionaries in lists, which CDKTF leaves where it has lost a block."""
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in empty_blocks(item, f"{path}.{key}")]
    if isinstance(value, list):
        lost = [f"{path}[{number}]" for number, item in enumerate(value) if item == {}]
        return lost + [found for number, item in enumerate(value) for found in empty_blocks(item, f"{path}[{number}]")]
    return []


@pytest.mark.parametrize("egress", ["nat", "nat-per-zone", "endpoints"])
def test_no_block_is_lost(synth: Synth, egress: str) -> None:
    stack = synth({"network": {"egress": egress}, "storage": {"versioning": True}})
    assert empty_blocks(stack["resource"]) == []


def test_the_state_is_remote_locked_and_encrypted(synth: Synth) -> None:
    backend = synth(account=ACCOUNT)["terraform"]["backend"]["s3"]
    assert backend["bucket"] == f"cv2kinesis-terraform-state-{ACCOUNT}-eu-central-1"
    assert (backend["key"], backend["use_lockfile"], backend["encrypt"]) == ("test/terraform.tfstate", True, True)


def test_without_an_account_the_state_stays_in_the_stacks_folder(synth: Synth) -> None:
    assert synth()["terraform"]["backend"] == {"local": {"path": "terraform.tfstate"}}


def test_the_stream(synth: Synth) -> None:
    stream = only(synth(), "aws_kinesis_stream")
    assert (stream["name"], stream["shard_count"], stream["retention_period"]) == ("cv2kinesis", 1, 24)
    assert (stream["encryption_type"], stream["stream_mode_details"]["stream_mode"]) == ("KMS", "PROVISIONED")
    on_demand = only(synth({"stream": {"mode": "ON_DEMAND"}}), "aws_kinesis_stream")
    assert "shard_count" not in on_demand


def test_the_network_lets_health_in_and_nothing_else(synth: Synth) -> None:
    stack = synth()
    rules = stack["resource"]["aws_vpc_security_group_ingress_rule"]
    open_to_all = {name: rule["from_port"] for name, rule in rules.items() if rule.get("cidr_ipv4") == "0.0.0.0/0"}
    assert open_to_all == {"balancer-from-anywhere": 80}
    assert rules["tasks-from-balancer"]["from_port"] == rules["tasks-from-balancer"]["to_port"] == 8080
    assert "referenced_security_group_id" in rules["tasks-from-balancer"]
    rule = only(stack, "aws_lb_listener_rule")
    assert rule["condition"] == [{"path_pattern": {"values": ["/health"]}}]
    assert only(stack, "aws_lb_listener")["default_action"][0]["fixed_response"]["status_code"] == "404"
    assert only(stack, "aws_ecs_service")["network_configuration"]["assign_public_ip"] is False


@pytest.mark.parametrize(
    ("egress", "gateways", "interfaces", "zones"),
    [
        ("nat", 1, {"kinesis-streams"}, 1),
        ("nat-per-zone", 2, {"kinesis-streams"}, 2),
        ("endpoints", 0, {"kinesis-streams", "sqs", "logs", "ssm", "ecr-api", "ecr-dkr", "events"}, 2),
    ],
)
def test_the_ways_out(synth: Synth, egress: str, gateways: int, interfaces: set[str], zones: int) -> None:
    resources = synth({"network": {"egress": egress}})["resource"]
    assert len(resources.get("aws_nat_gateway", {})) == gateways
    kinds: dict[str, dict[str, Any]] = {"Gateway": {}, "Interface": {}}
    for id_, endpoint in resources["aws_vpc_endpoint"].items():
        kinds[endpoint["vpc_endpoint_type"]][id_.removeprefix("endpoint-")] = endpoint
    assert set(kinds["Gateway"]) == {"s3", "dynamodb"}
    assert set(kinds["Interface"]) == interfaces
    assert all(len(endpoint["subnet_ids"]) == zones for endpoint in kinds["Interface"].values())
    rule = resources["aws_vpc_security_group_ingress_rule"]["endpoints-from-tasks"]
    assert rule["referenced_security_group_id"] == "${aws_security_group.tasks-group.id}"


def test_frames_may_take_the_way_of_all_else(synth: Synth) -> None:
    resources = synth({"network": {"kinesis_endpoint": False}})["resource"]
    assert set(resources["aws_vpc_endpoint"]) == {"endpoint-s3", "endpoint-dynamodb"}
    assert "endpoints-group" not in resources["aws_security_group"]


def test_an_environment_without_a_balancer_has_nothing_of_it(synth: Synth) -> None:
    stack = synth({"service": {"balancer": False}})
    resources = stack["resource"]
    assert [kind for kind in resources if kind.startswith("aws_lb")] == []
    assert set(resources["aws_security_group"]) == {"tasks-group", "endpoints-group"}
    assert set(resources["aws_vpc_security_group_ingress_rule"]) == {"endpoints-from-tasks"}
    service = only(stack, "aws_ecs_service")
    assert not {"load_balancer", "health_check_grace_period_seconds"} & service.keys()
    assert set(service["depends_on"]) == {"aws_iam_role_policy.task-policy", "aws_iam_role_policy.execution-policy"}
    assert "alarm-unhealthy" not in resources["aws_cloudwatch_metric_alarm"]
    assert "ApplicationELB" not in only(stack, "aws_cloudwatch_dashboard")["dashboard_body"]
    assert "LoadBalancerURL" not in stack["output"]
    # ECS still asks the container.
    assert "kcl_worker.operating.healthcheck" in only(stack, "aws_ecs_task_definition")["container_definitions"]
    # NAT gateways have public addresses.
    assert "public-0" in resources["aws_subnet"]


def test_nothing_is_public_where_nothing_has_a_public_address(synth: Synth) -> None:
    resources = synth({"service": {"balancer": False}, "network": {"egress": "endpoints"}})["resource"]
    assert not {"aws_internet_gateway", "aws_eip", "aws_route"} & resources.keys()
    assert set(resources["aws_subnet"]) == {"private-0", "private-1"}


def test_tasks_run_on_spot_but_for_the_first(synth: Synth) -> None:
    on_demand = only(synth(), "aws_ecs_service")
    assert (on_demand["launch_type"], "capacity_provider_strategy" in on_demand) == ("FARGATE", False)
    four = {"stream": {"shards": 4}}
    stack = synth(four | {"service": {"spot": True, "on_demand_base": 2}})
    service = only(stack, "aws_ecs_service")
    assert "launch_type" not in service
    assert service["force_new_deployment"] is True  # another base is an update then
    assert service["capacity_provider_strategy"] == [
        {"capacity_provider": "FARGATE", "base": 2, "weight": 0},
        {"capacity_provider": "FARGATE_SPOT", "weight": 1},
    ]
    assert only(stack, "aws_ecs_cluster_capacity_providers")["capacity_providers"] == ["FARGATE", "FARGATE_SPOT"]
    assert "aws_ecs_cluster_capacity_providers.capacity" in service["depends_on"]
    all_spot = only(synth(four | {"service": {"spot": True}}), "aws_ecs_service")
    assert all_spot["capacity_provider_strategy"] == [{"capacity_provider": "FARGATE_SPOT", "weight": 1}]
    # AWS gives two minutes.
    assert '"stopTimeout" = 100' in only(stack, "aws_ecs_task_definition")["container_definitions"]
    # A reclaimed task is no failure.
    assert "SpotInterruption" not in only(stack, "aws_cloudwatch_event_rule")["event_pattern"]


def test_the_scaling_is_replaced_with_its_service(synth: Synth) -> None:
    resources = synth()["resource"]
    target = resources["aws_appautoscaling_target"]["scaling-target"]
    assert target["resource_id"] == '${element(split(":", aws_ecs_service.service.id), 5)}'
    for kind in ("aws_appautoscaling_policy", "aws_appautoscaling_scheduled_action"):
        for made in resources[kind].values():
            assert made["resource_id"] == "${aws_appautoscaling_target.scaling-target.resource_id}"


def test_with_a_certificate_the_balancer_speaks_tls(synth: Synth) -> None:
    arn = "arn:aws:acm:eu-central-1:123456789012:certificate/x"
    listeners = synth({"network": {"certificate_arn": arn}})["resource"]["aws_lb_listener"]
    assert listeners["listener"]["port"] == 443
    assert listeners["listener-http"]["default_action"][0]["redirect"]["protocol"] == "HTTPS"


def test_the_service(synth: Synth) -> None:
    stack = synth()
    assert only(stack, "aws_ecs_cluster")["name"] == "VideoPipelineStack-Cluster"
    service = only(stack, "aws_ecs_service")
    assert service["name"] == "VideoPipelineStack-Service"
    assert service["deployment_circuit_breaker"] == {"enable": True, "rollback": True}
    definition = only(stack, "aws_ecs_task_definition")
    assert (definition["family"], definition["cpu"], definition["memory"]) == ("videoPipeline", "512", "2048")
    container = definition["container_definitions"]
    for text in (
        '"readonlyRootFilesystem" = true', '"initProcessEnabled" = true', '"user" = "10001:10001"',
        '"stopTimeout" = 100', '"containerPath" = "/tmp"', '"name" = "SQS_QUEUE_URL"',
    ):  # fmt: skip
        assert text in container
    # The default would drop lines, and with them metrics, uncounted.
    assert '"mode" = "blocking"' in container
    logs = stack["resource"]["aws_cloudwatch_log_group"]["logs"]
    assert (logs["name"], logs["retention_in_days"]) == ("/ecs/videoPipeline", 30)


def test_what_aws_takes_only_in_order(synth: Synth) -> None:
    stack = synth()
    assert only(stack, "aws_lb")["depends_on"] == ["aws_internet_gateway.internet-gateway"]
    assert set(only(stack, "aws_ecs_service")["depends_on"]) == {
        "aws_lb_listener.listener", "aws_lb_listener_rule.health-rule",
        "aws_iam_role_policy.task-policy", "aws_iam_role_policy.execution-policy",
    }  # fmt: skip
    # Kinesis deletes no stream with consumers, and KCL leaves its own registered.
    assert only(stack, "aws_kinesis_stream")["enforce_consumer_deletion"] is True


def test_zones_are_real_ones_and_none_twice(synth: Synth) -> None:
    stack = synth({"network": {"zones": 3}})
    zones = stack["data"]["aws_availability_zones"]["zones"]
    assert zones["filter"] == [{"name": "zone-type", "values": ["availability-zone"]}]
    public = [s for id_, s in stack["resource"]["aws_subnet"].items() if id_.startswith("public-")]
    names = "data.aws_availability_zones.zones.names"
    assert [subnet["availability_zone"] for subnet in public] == [f"${{{names}[{n}]}}" for n in range(3)]


def test_old_tasks_stay_until_new_ones_are_healthy(synth: Synth) -> None:
    stack = synth()
    service = only(stack, "aws_ecs_service")
    assert service["deployment_minimum_healthy_percent"] == 100
    assert service["deployment_maximum_percent"] == 200
    # What a rollback goes back to.
    assert only(stack, "aws_ecs_task_definition")["skip_destroy"] is True


def test_storage_and_queues(synth: Synth) -> None:
    stack = synth()
    resources = stack["resource"]
    rule = resources["aws_s3_bucket_server_side_encryption_configuration"]["frames-encryption"]["rule"][0]
    assert rule["apply_server_side_encryption_by_default"]["sse_algorithm"] == "AES256"
    assert resources["aws_s3_bucket_lifecycle_configuration"]["frames-lifecycle"]["rule"][0]["expiration"] == [
        {"days": 7}
    ]
    block = resources["aws_s3_bucket_public_access_block"]["frames-public-access"]
    assert all(value is True for key, value in block.items() if key.startswith(("block", "ignore", "restrict")))
    assert "aws_s3_bucket_versioning" not in resources
    results = resources["aws_sqs_queue"]["results"]
    assert (results["name"], results["visibility_timeout_seconds"]) == ("processing-results", 300)
    assert results["message_retention_seconds"] == 14 * 86400
    assert '"maxReceiveCount" = 5' in results["redrive_policy"]
    assert all(queue["sqs_managed_sse_enabled"] for queue in resources["aws_sqs_queue"].values())
    for name in ("frames-tls", "results-tls", "quarantine-tls", "dead-letters-tls"):
        denial = statements(stack, name)["TlsOnly"]
        assert denial["effect"] == "Deny"
        assert denial["condition"] == [{"test": "Bool", "values": ["false"], "variable": "aws:SecureTransport"}]


def test_the_registry(synth: Synth) -> None:
    repository = only(synth(), "aws_ecr_repository")
    assert (repository["name"], repository["image_tag_mutability"]) == ("cv2kinesis", "IMMUTABLE")
    assert repository["image_scanning_configuration"] == {"scan_on_push": True}


def test_the_lease_tables_are_those_of_kcl(synth: Synth) -> None:
    tables = synth()["resource"]["aws_dynamodb_table"]
    assert {table["name"]: table["hash_key"] for table in tables.values()} == {
        "cv2kinesis": "leaseKey",
        "cv2kinesis-WorkerMetricStats": "wid",
        "cv2kinesis-CoordinatorState": "key",
    }
    assert all(table["billing_mode"] == "PAY_PER_REQUEST" for table in tables.values())
    [index] = tables["leases"]["global_secondary_index"]
    assert (index["name"], index["hash_key"], index["range_key"]) == (
        "LeaseOwnerToLeaseKeyIndex",
        "leaseOwner",
        "leaseKey",
    )
    assert tables["leases"]["point_in_time_recovery"] == {"enabled": True}


def test_roles_have_no_wildcard_but_where_aws_knows_no_resource(synth: Synth) -> None:
    stack = synth()
    wild = {
        action
        for name in ("task-permissions", "execution-permissions")
        for statement in statements(stack, name).values()
        for action in statement["actions"]
        if "*" in statement["resources"]
    }
    assert wild == {"ecr:GetAuthorizationToken"}
    assert not any(
        "*" in action for statement in statements(stack, "task-permissions").values() for action in statement["actions"]
    )
    stored, looked_for = ["/frames/*", "/quarantine/*", "/events/*"], ["/frames/*", "/quarantine/*"]
    for statement, action, places in (
        ("StoreFrames", "s3:PutObject", stored),
        ("SayHowLong", "s3:PutObjectTagging", stored),
        ("LookForFrames", "s3:GetObjectTagging", looked_for),
    ):
        frames = statements(stack, "task-permissions")[statement]
        assert frames["actions"] == [action]
        assert [resource.rpartition("}")[2] for resource in frames["resources"]] == places


def test_precision_and_fan_out_are_the_environments_choice(synth: Synth) -> None:
    stack = synth()
    assert "FanOut" not in statements(stack, "task-permissions")
    values = variables(stack)
    assert (values["YOLO_PRECISION"], values["KINESIS_RETRIEVAL_MODE"]) == ("fp32", "POLLING")
    chosen = synth({"service": {"precision": "int8", "retrieval_mode": "FANOUT"}})
    values = variables(chosen)
    assert (values["YOLO_PRECISION"], values["KINESIS_RETRIEVAL_MODE"]) == ("int8", "FANOUT")
    assert ":yolov8n-int8-" in only(chosen, "aws_ecs_task_definition")["container_definitions"]
    fan_out = statements(chosen, "task-permissions")["FanOut"]
    assert "kinesis:SubscribeToShard" in fan_out["actions"]
    assert [arn.partition(":stream/")[2] for arn in fan_out["resources"]] == [
        "cv2kinesis",
        "cv2kinesis/consumer/cv2kinesis:*",
    ]


def test_an_environment_gives_its_workers_more_variables(synth: Synth) -> None:
    chosen = synth({"worker": {"lag_policy": "skip-stale", "max_frame_age_seconds": 2.5, "log_level": "DEBUG"}})
    container = only(chosen, "aws_ecs_task_definition")["container_definitions"]
    for name, value in (("LAG_POLICY", "skip-stale"), ("MAX_FRAME_AGE_SECONDS", "2.5"), ("LOG_LEVEL", "DEBUG")):
        assert f'"name" = "{name}", "value" = "{value}"' in container
    assert "LAG_POLICY" not in only(synth(), "aws_ecs_task_definition")["container_definitions"]


def test_no_variable_is_set_twice(synth: Synth) -> None:
    container = only(synth(), "aws_ecs_task_definition")["container_definitions"]
    assert not [name for name in worker_variables.NAMES if f'"{name.upper()}"' in container]


@pytest.mark.parametrize(
    ("service", "path", "tag"),
    [
        ({}, None, "yolov8n"),
        ({"model_size": "yolov8m"}, None, "yolov8m"),
        ({"model": "yolo11n", "image_size": 320}, "models/yolo11n.onnx", "yolo11n"),
        ({"model": "../nets/mine.onnx", "precision": "int8"}, "models/mine.onnx", "mine-int8"),
    ],
)
def test_any_model_is_the_environments_choice(
    synth: Synth, service: dict[str, Any], path: str | None, tag: str
) -> None:
    stack = synth({"service": service})
    values = variables(stack)
    assert (values["YOLO_MODEL_SIZE"], values.get("YOLO_MODEL_PATH")) == (tag[-1] if path is None else "n", path)
    assert values.get("YOLO_IMAGE_SIZE") == (str(service["image_size"]) if "image_size" in service else None)
    assert f":{tag}-" in only(stack, "aws_ecs_task_definition")["container_definitions"]


def test_every_setting_is_in_the_definition_so_that_a_change_rolls_tasks(synth: Synth) -> None:
    changed = {
        "confidence_threshold": 0.25, "max_detections": 7, "retrieval_mode": "FANOUT", "precision": "int8",
        "shutdown_grace_seconds": 33, "model_size": "s", "image_size": 320, "memory": 4096,
    }  # fmt: skip
    before = variables(synth())
    after = variables(synth({"service": changed}))
    assert {name: after[name] for name in after if after[name] != before.get(name)} == {
        "CONFIDENCE_THRESHOLD": "0.25", "MAX_DETECTIONS": "7", "KINESIS_RETRIEVAL_MODE": "FANOUT",
        "YOLO_PRECISION": "int8", "SHUTDOWN_GRACE_SECONDS": "33", "YOLO_MODEL_SIZE": "s", "YOLO_IMAGE_SIZE": "320",
        "TASK_MEMORY_MIB": "4096",
    }  # fmt: skip
    assert before["SQS_QUEUE_URL"] == "aws_sqs_queue.results.url"


def test_environments_stand_side_by_side(synth: Synth) -> None:
    def names(stack: dict[str, Any]) -> set[str]:
        # Names that may be the same in two environments: they lie within resources of one environment.
        return {
            resource["name"]
            for kind, resources in stack["resource"].items()
            for resource in resources.values()
            if "name" in resource and kind != "aws_iam_role_policy"
        }

    assert names(synth()).isdisjoint(names(synth({"suffix": "-two"})))


def test_everything_carries_tags(synth: Synth) -> None:
    [provider] = synth({"tags": {"owner": "video"}})["provider"]["aws"]
    assert provider["default_tags"] == [
        {"tags": {"environment": "test", "owner": "video", "pipeline": "cv2kinesis", "project": "cv2kinesis"}}
    ]


def test_the_outputs(synth: Synth) -> None:
    outputs = set(synth()["output"])
    assert outputs >= {"LoadBalancerURL", "S3BucketName", "SQSQueueURL", "KinesisStreamName"}


def test_the_outputs_say_what_a_film_must_not_show(synth: Synth) -> None:
    """`consumer clip` reads the settings of sources where workers read them."""
    outputs = synth()["output"]
    assert outputs["SourcesPath"]["value"] == "/cv2kinesis/sources"
    assert "SourceDefaults" not in outputs
    [defaults] = [synth({"sources": {"privacy": {"blur": ["person"]}}})["output"]["SourceDefaults"]["value"]]
    assert "jsonencode" in defaults
    assert "person" in defaults


def test_the_alarms_tell_a_topic(synth: Synth) -> None:
    stack = synth({"alarms": {"email": "ops@example.com"}, "stream": {"retention_hours": 48}})
    alarms = stack["resource"]["aws_cloudwatch_metric_alarm"]
    alarms = {name: alarm for name, alarm in alarms.items() if not name.startswith("scaling-")}
    names = {alarm["alarm_name"].removeprefix("cv2kinesis-") for alarm in alarms.values()}
    assert names == {
        "lag", "dead-letters", "quarantine", "write-throttled", "read-throttled", "unhealthy", "frames-stopped",
        "crash-loop", "unowned", "waiting", "results-age", "tasks-missing", "metrics-missing", "lines-dropped",
        "events-age", "events-dead-letters",
    }  # fmt: skip
    assert all(alarm["alarm_actions"] == ["${aws_sns_topic.alarms.arn}"] for alarm in alarms.values())
    assert all(alarm["treat_missing_data"] == "notBreaching" for alarm in alarms.values())
    assert alarms["alarm-lag"]["threshold"] == 24 * 3600 * 1000  # half of the retention
    # Another application that reads the stream counts for nothing.
    assert alarms["alarm-lag"]["dimensions"] == {"StreamName": "cv2kinesis", "Application": "cv2kinesis"}
    unowned = alarms["alarm-unowned"]
    assert (unowned["metric_name"], unowned["statistic"], unowned["threshold"]) == ("UnownedSeconds", "Maximum", 60)
    for name in ("results", "events"):
        assert alarms[f"alarm-{name}-age"]["threshold"] == 7 * 24 * 3600  # half of the retention
        assert alarms[f"alarm-{name}-age"]["dimensions"] == {"QueueName": f"${{aws_sqs_queue.{name}.name}}"}
    missing = {query["id"]: query for query in alarms["alarm-tasks-missing"]["metric_query"]}
    assert missing["result"]["expression"] == "wanted - FILL(tasks, 0)"
    assert missing["wanted"]["metric"]["metric_name"] == "DesiredTaskCount"
    waiting = alarms["alarm-waiting"]
    assert (waiting["metric_name"], waiting["statistic"], waiting["threshold"]) == ("WaitingSeconds", "Maximum", 60)
    assert only(stack, "aws_sns_topic_subscription")["endpoint"] == "ops@example.com"
    assert "aws_sns_topic_subscription" not in synth()["resource"]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"stream": {"shards": 4}},
        {"stream": {"shards": 4}, "service": {"min_tasks": 1, "balancer": False}},
    ],
)
def test_the_bill_has_the_alarms_of_the_stack(synth: Synth, values: dict[str, Any]) -> None:
    resources = synth(values)["resource"]
    watched = []
    for alarm in resources["aws_cloudwatch_metric_alarm"].values():
        periods = [query["metric"]["period"] for query in alarm.get("metric_query", []) if "metric" in query]
        watched += [3 if period < 60 else 1 for period in periods or [alarm["period"]]]
    tracking = [
        p for p in resources["aws_appautoscaling_policy"].values() if p["policy_type"] == "TargetTrackingScaling"
    ]
    config = Config.of(values)
    assert alarm_metrics(config) == sum(watched) + len(tracking)
    assert keys(config) == len(resources["aws_kms_key"])


def test_the_dashboard(synth: Synth) -> None:
    dashboard = only(synth(), "aws_cloudwatch_dashboard")
    assert dashboard["dashboard_name"] == "VideoPipeline"
    for name in (
        "IncomingRecords", "GetRecords.IteratorAgeMilliseconds", "EndToEndLatency", "CPUUtilization", "TriggeredRules",
        "SEARCH('{cv2kinesis,StreamName,Application,ShardId} MillisBehindLatest cv2kinesis'", "UnownedShards",
        "ConsumedWriteCapacityUnits",
    ):  # fmt: skip
        assert name in dashboard["dashboard_body"]


def test_alarms_and_budgets_of_this_account_alone_may_tell_the_topic(synth: Synth) -> None:
    stack = synth()
    assert only(stack, "aws_sns_topic")["kms_master_key_id"] == "${aws_kms_key.alarms-key.arn}"
    key = only(stack, "aws_kms_key")
    assert key["enable_key_rotation"] is True
    assert '"Principal" = {"Service" = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]}' in key["policy"]
    assert '"Condition" = {"StringEquals" = {"aws:SourceAccount" = data.aws_caller_identity' in key["policy"]
    account = "${data.aws_caller_identity.caller.account_id}"
    allowed = {s["principals"][0]["identifiers"][0]: s for s in statements(stack, "alarms-permissions").values()}
    for service, arn in {
        "cloudwatch.amazonaws.com": f"arn:aws:cloudwatch:eu-central-1:{account}:alarm:*",
        "budgets.amazonaws.com": f"arn:aws:budgets::{account}:*",
    }.items():
        assert allowed[service]["actions"] == ["sns:Publish"]
        assert allowed[service]["condition"] == [
            {"test": "StringEquals", "variable": "aws:SourceAccount", "values": [account]},
            {"test": "ArnLike", "variable": "aws:SourceArn", "values": [arn]},
        ]


def test_a_budget_tells_the_topic(synth: Synth) -> None:
    assert "aws_budgets_budget" not in synth()["resource"]
    stack = synth({"alarms": {"budget": 250}, "suffix": "-prod"})
    budget = only(stack, "aws_budgets_budget")
    assert (budget["name"], budget["limit_amount"], budget["time_unit"]) == ("cv2kinesis-budget-prod", "250", "MONTHLY")
    # One tag, for values of a filter are alternatives, and each resource of this environment has it.
    assert budget["cost_filter"] == [{"name": "TagKeyValue", "values": ["user:pipeline$cv2kinesis-prod"]}]
    [provider] = stack["provider"]["aws"]
    assert provider["default_tags"][0]["tags"]["pipeline"] == "cv2kinesis-prod"
    told = {(n["notification_type"], n["threshold"]): n["subscriber_sns_topic_arns"] for n in budget["notification"]}
    assert told == {
        kind: ["${aws_sns_topic.alarms.arn}"] for kind in (("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100))
    }
    assert budget["depends_on"] == ["aws_sns_topic_policy.alarms-policy"]


def test_failed_tasks_are_kept_and_counted(synth: Synth) -> None:
    stack = synth()
    pattern = only(stack, "aws_cloudwatch_event_rule")["event_pattern"]
    for text in ("EssentialContainerExited", "TaskFailedToStart", "STOPPED"):
        assert text in pattern
    alarm = stack["resource"]["aws_cloudwatch_metric_alarm"]["alarm-crash-loop"]
    assert (alarm["metric_name"], alarm["period"], alarm["threshold"]) == ("TriggeredRules", 900, 2)
    assert alarm["dimensions"] == {"RuleName": "${aws_cloudwatch_event_rule.failures.name}"}


def test_frames_are_copied_to_another_region(synth: Synth) -> None:
    stack = synth({"storage": {"versioning": True, "replica_region": "eu-west-1"}})
    buckets = stack["resource"]["aws_s3_bucket"]
    assert buckets["replica"]["provider"] == "aws.replica"
    assert buckets["replica"]["bucket"].endswith("-eu-west-1")
    rule = only(stack, "aws_s3_bucket_replication_configuration")["rule"][0]
    assert rule["destination"]["bucket"] == "${aws_s3_bucket.replica.arn}"
    assert set(stack["resource"]["aws_s3_bucket_versioning"]) == {"frames-versioning", "replica-versioning"}
    assert empty_blocks(stack["resource"]) == []
    wild = [s for s in statements(stack, "replication-permissions").values() if "*" in s["resources"]]
    assert wild == []


def test_what_holds_data_is_destroyed_by_no_plan(synth: Synth) -> None:
    stack = synth()["resource"]
    kept = {
        f"{kind}.{id_}"
        for kind, made in stack.items()
        for id_, r in made.items()
        if r.get("lifecycle", {}).get("prevent_destroy")
    }
    assert kept == {
        "aws_kinesis_stream.stream", "aws_s3_bucket.frames", "aws_sqs_queue.results", "aws_sqs_queue.dead-letters",
        "aws_sqs_queue.quarantine", "aws_sqs_queue.events", "aws_sqs_queue.events-dead-letters",
        "aws_dynamodb_table.leases", "aws_ecr_repository.repository",
    }  # fmt: skip
    assert stack["aws_dynamodb_table"]["leases"]["deletion_protection_enabled"] is True
    assert stack["aws_ecr_repository"]["repository"]["force_delete"] is False


def test_an_environment_belongs_to_one_account(synth: Synth) -> None:
    [provider] = synth({"account": ACCOUNT})["provider"]["aws"]
    assert provider["allowed_account_ids"] == [ACCOUNT]
    [provider] = synth()["provider"]["aws"]
    assert "allowed_account_ids" not in provider
