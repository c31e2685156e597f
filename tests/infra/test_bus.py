"""The bus of events and its rules: as synthesised, and from an event to a rule's target on the embedded AWS."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contract.event import EVENT_SOURCE
from contract.source_settings import SourceSettings
from local.processes import Aws
from local.resources import client
from stacks import webhooks
from stacks.config import Config, ConfigError
from stacks.errors import DeployError
from stacks.event_routes import EventRoute
from tests.infra.conftest import ACCOUNT, Synth, Terraform
from tests.infra.test_synth import empty_blocks, only, statements

MINE = f"arn:aws:sqs:eu-central-1:{ACCOUNT}:mine"
RULES: dict[str, dict[str, Any]] = {
    "mail": {"email": "guard@example.com", "kinds": ["appear"], "phase": "start"},
    "topic": {"sns": f"arn:aws:sns:eu-central-1:{ACCOUNT}:theirs"},
    "queue": {"queue": MINE, "sources": ["door"], "zones": ["step"]},
    "hook": {"webhook": "https://example.com/events", "header": "X-Key", "secret": "/cv2kinesis/hook"},
    "far": {"bus": "arn:aws:events:eu-west-1:210987654321:event-bus/theirs"},
}
VALUES = {"events": {"rules": RULES}, "suffix": "-bus"}


def test_the_bus_keeps_events_for_a_replay(synth: Synth) -> None:
    stack = synth({"suffix": "-bus"})
    bus = only(stack, "aws_cloudwatch_event_bus")
    archive = only(stack, "aws_cloudwatch_event_archive")
    assert (bus["name"], archive["name"], archive["retention_days"]) == ("cv2kinesis-events-bus",) * 2 + (30,)
    assert archive["event_source_arn"] == "${aws_cloudwatch_event_bus.bus.arn}"
    put = statements(stack, "task-permissions")["TellBus"]
    assert (put["actions"], [arn.rpartition(":")[2] for arn in put["resources"]]) == (
        ["events:PutEvents"], ["event-bus/cv2kinesis-events-bus"],
    )  # fmt: skip
    assert put["condition"] == [{"test": "StringEquals", "variable": "events:source", "values": ["cv2kinesis"]}]
    assert "aws_cloudwatch_event_archive" not in synth({"events": {"archive_days": 0}})["resource"]


def test_an_environment_without_a_bus_has_nothing_of_it(synth: Synth) -> None:
    stack = synth({"events": {"bus": False}, "network": {"egress": "endpoints"}})
    assert not {"aws_cloudwatch_event_bus", "aws_cloudwatch_event_archive"} & stack["resource"].keys()
    assert "endpoint-events" not in stack["resource"]["aws_vpc_endpoint"]
    assert "TellBus" not in statements(stack, "task-permissions")
    assert "EventBusName" not in stack["output"]
    assert "EVENT_BUS_NAME" not in only(stack, "aws_ecs_task_definition")["container_definitions"]
    assert stack["resource"]["aws_sqs_queue"]["events"]["name"] == "processing-results-events"


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ({}, {"source": ["cv2kinesis"]}),
        ({"phase": "end"}, {"source": ["cv2kinesis"], "detail-type": ["event end"]}),
        (
            {"sources": ["door", "gate"], "kinds": ["dwell"], "rules": ["loiter"], "zones": ["step"]},
            {
                "source": ["cv2kinesis"],
                "detail": {"source": ["door", "gate"], "event": ["dwell"], "rule": ["loiter"], "zone": ["step"]},
            },
        ),
    ],
)
def test_filters_are_a_pattern_on_the_events_fields(route: dict[str, Any], expected: dict[str, Any]) -> None:
    from stacks.bus import pattern

    assert pattern(EventRoute.model_validate({"queue": MINE} | route)) == expected
    assert expected["source"] == [EVENT_SOURCE]  # under which the worker puts them


def test_each_rule_has_a_target_and_its_own_dead_letters(synth: Synth) -> None:
    stack = synth(VALUES)
    resources = stack["resource"]
    assert empty_blocks(resources) == []
    targets = resources["aws_cloudwatch_event_target"]
    arns = {
        "mail": "${aws_sns_topic.event-topic-mail.arn}",
        "topic": RULES["topic"]["sns"],
        "queue": MINE,
        "hook": "${aws_cloudwatch_event_api_destination.event-destination-hook.arn}",
        "far": RULES["far"]["bus"],
    }
    for name, arn in arns.items():
        target = targets[f"event-target-{name}"]
        assert (target["arn"], target["event_bus_name"]) == (arn, "${aws_cloudwatch_event_bus.bus.name}")
        assert target["dead_letter_config"] == {"arn": f"${{aws_sqs_queue.event-dead-letters-{name}.arn}}"}
        assert target["retry_policy"] == {"maximum_event_age_in_seconds": 86400, "maximum_retry_attempts": 185}
        assert ("role_arn" in target) == (name in ("hook", "far"))
        queue = resources["aws_sqs_queue"][f"event-dead-letters-{name}"]
        assert (queue["name"], queue["sqs_managed_sse_enabled"]) == (f"cv2kinesis-bus_events_{name}", True)
        policy = statements(stack, f"event-dead-letters-{name}-tls")
        assert policy["TlsOnly"]["effect"] == "Deny"
        bury = policy["Bury"]
        assert bury["principals"] == [{"type": "Service", "identifiers": ["events.amazonaws.com"]}]
        assert (bury["actions"], bury["resources"]) == (["sqs:SendMessage"], [target["dead_letter_config"]["arn"]])
        account = "${data.aws_caller_identity.caller.account_id}"
        rule = f"arn:aws:events:eu-central-1:{account}:rule/cv2kinesis-events-bus/{name}"
        assert {c["variable"]: c["values"] for c in bury["condition"]} == {
            "aws:SourceAccount": [account], "aws:SourceArn": [rule],
        }  # fmt: skip
        alarm = resources["aws_cloudwatch_metric_alarm"][f"alarm-undelivered-{name}"]
        assert alarm["alarm_name"] == f"cv2kinesis-bus_events_{name}"
        assert alarm["dimensions"] == {"QueueName": f"${{aws_sqs_queue.event-dead-letters-{name}.name}}"}
        assert (alarm["metric_name"], alarm["threshold"]) == ("ApproximateNumberOfMessagesVisible", 0)


def test_a_mail_is_a_line_of_an_encrypted_topic(synth: Synth) -> None:
    stack = synth(VALUES)
    topic = stack["resource"]["aws_sns_topic"]["event-topic-mail"]
    assert topic["kms_master_key_id"] == "${aws_kms_key.alarms-key.arn}"
    assert '"Service" = "events.amazonaws.com"' in only(stack, "aws_kms_key")["policy"]
    assert "events.amazonaws.com" not in only(synth(), "aws_kms_key")["policy"]
    [publish] = statements(stack, "event-topic-permissions-mail").values()
    assert publish["condition"][1]["values"][0].endswith(":rule/cv2kinesis-events-bus/mail")
    made = stack["resource"]["aws_cloudwatch_event_target"]["event-target-mail"]["input_transformer"]
    placeholders = set(re.findall(r"<(\w+)>", made["input_template"]))
    assert placeholders == made["input_paths"].keys()
    from contract.event import EventMessage

    assert {path.removeprefix("$.detail.") for path in made["input_paths"].values()} <= EventMessage.model_fields.keys()


def test_the_role_calls_these_webhooks_and_buses_for_these_rules_alone(synth: Synth) -> None:
    stack = synth(VALUES)
    found = statements(stack, "routes-permissions")
    [webhook] = found["CallWebhooks"]["resources"]
    assert webhook.endswith(":api-destination/cv2kinesis-bus_events_hook/*")
    assert found["TellBuses"]["resources"] == [RULES["far"]["bus"]]
    [trust] = stack["data"]["aws_iam_policy_document"]["routes-trust"]["statement"]
    assert trust["principals"] == [{"type": "Service", "identifiers": ["events.amazonaws.com"]}]
    assert {c["test"]: c["values"][0].rpartition(":")[2] for c in trust["condition"]}["ArnLike"] == (
        "rule/cv2kinesis-events-bus/*"
    )
    assert "routes" not in synth({"events": {"rules": {"queue": RULES["queue"]}}})["resource"]["aws_iam_role"]


def test_no_secret_is_in_the_stack(synth: Synth) -> None:
    connection = only(synth(VALUES), "aws_cloudwatch_event_connection")
    assert connection["auth_parameters"] == {"api_key": {"key": "X-Key", "value": "none"}}
    assert connection["lifecycle"] == {"ignore_changes": ["auth_parameters"]}


def test_the_defaults_of_all_sources_reach_the_worker_as_they_were_given(synth: Synth) -> None:
    sources = {
        "store": "events", "announce": "events", "before_seconds": 2.5, "keep_days": 3,
        "zones": [{"name": "step", "polygon": [[0.1, 0.5], [0.4, 0.5], [0.4, 1]]}],
        "events": [{"name": "visitor", "kind": "appear", "zone": "step"}],
    }  # fmt: skip
    assert "SOURCE_DEFAULTS" not in only(synth(), "aws_ecs_task_definition")["container_definitions"]
    text = only(synth({"sources": sources}), "aws_ecs_task_definition")["container_definitions"]
    hcl = text.partition('"SOURCE_DEFAULTS", "value" = jsonencode(')[2].partition(")}")[0]
    given = json.loads(re.sub(r'("\w+") = ', r"\1: ", hcl))
    assert given == sources
    assert SourceSettings.parse(json.dumps(given)).given() == Config.of({"sources": sources}).sources.given()


def test_what_is_tagged_goes_sooner_in_every_bucket_of_frames(synth: Synth) -> None:
    stack = synth({"storage": {"expiry_days": 14, "versioning": True, "replica_region": "eu-west-1"}})
    for bucket in ("frames", "replica"):
        whole, *tagged = stack["resource"]["aws_s3_bucket_lifecycle_configuration"][f"{bucket}-lifecycle"]["rule"]
        assert whole["expiration"] == [{"days": 14}]
        found = {rule["filter"][0]["tag"][0]["value"]: rule["expiration"][0]["days"] for rule in tagged}
        assert found == {str(days): days for days in (1, 2, 3, 5, 7)}
        assert {rule["filter"][0]["tag"][0]["key"] for rule in tagged} == {"keep-days"}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"events": {"rules": {"x": {}}}}, "events.rules.x: no target: one of email, sns, queue, webhook, bus"),
        ({"events": {"rules": {"x": {"email": "a@b", "queue": MINE}}}}, "events.rules.x: email and queue: one of"),
        ({"events": {"rules": {"Door": {"email": "a@b"}}}}, "events.rules.Door"),
        ({"events": {"rules": {"x": {"webhook": "http://example.com"}}}}, "events.rules.x.webhook: 'http://"),
        ({"events": {"rules": {"x": {"email": "a@b", "secret": "/x"}}}}, "secret: only a webhook has one"),
        ({"events": {"rules": {"x": {"email": "a@b", "kinds": ["come"]}}}}, "events.rules.x.kinds.0: 'come'"),
        ({"events": {"bus": False, "rules": {"x": {"email": "a@b"}}}}, "events: bus false: the rules x take events"),
        ({"region": "eu-west-1", "events": {"rules": {"x": {"queue": MINE}}}}, "events.rules.x.queue: it is in eu-cen"),
        ({"sources": {"store": "some"}}, "sources.store: 'some'"),
        ({"sources": {"zones": [{"name": "a", "polygon": [[0, 0], [1, 1]]}]}}, "sources.zones.0.polygon"),
        ({"sources": {"events": [{"name": "v", "kind": "appear", "zone": "hall"}]}}, "sources: events: v: no zone"),
        ({"sources": {"keep_days": 4}}, "sources.keep_days: 4"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_one_line(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.of(values, "dev.toml")
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.thorough
def test_from_an_event_to_the_target_of_a_rule(
    synth: Synth, terraform: Callable[[str], Terraform], aws: Aws, tmp_path: Path
) -> None:
    """Applied, given its secret, used and destroyed; a second plan shows no change."""
    stack = synth(VALUES)
    wanted = [
        f"{kind}.{id_}"
        for kind, made in stack["resource"].items()
        for id_ in made
        if id_ in ("bus", "archive", "frames-lifecycle") or "event-" in id_
    ]
    path = tmp_path / "cdktf.out/stacks/test/cdk.tf.json"
    path.write_text(json.dumps(_unprotected(stack)))
    sqs, events = client("sqs", aws.url), client("events", aws.url)
    mine = sqs.create_queue(QueueName="mine")["QueueUrl"]
    environment = terraform("test")
    environment.init()
    environment.apply(*(f"-target={address}" for address in wanted))
    planned = environment.planned()
    assert {address: planned[address] for address in wanted if address in planned} == {}

    config = Config.of(VALUES)

    def connect(service: str) -> Any:
        return client(service, aws.url)

    with pytest.raises(DeployError, match=r"events\.rules\.hook\.secret /cv2kinesis/hook: ParameterNotFound"):
        webhooks.read_secrets(connect, config)
    client("ssm", aws.url).put_parameter(Name="/cv2kinesis/hook", Value="s3cr3t-word", Type="SecureString")
    secrets = webhooks.read_secrets(connect, config)
    assert secrets == {"hook": "s3cr3t-word"}
    webhooks.hand_over(connect, config, secrets)
    assert "s3cr3t-word" not in (environment.folder / "terraform.tfstate").read_text()
    assert not {address for address in environment.planned() if "event-connection" in address}

    detail = {"source": "door", "event": "appear", "rule": "visitor", "zone": "step"}
    for changed in ({}, {"source": "gate"}, {"zone": "hall"}):
        entry = {"Source": "cv2kinesis", "DetailType": "event start", "Detail": json.dumps(detail | changed)}
        answer = events.put_events(Entries=[entry | {"EventBusName": "cv2kinesis-events-bus"}])
        assert answer["FailedEntryCount"] == 0
    [message] = sqs.receive_message(QueueUrl=mine, MaxNumberOfMessages=10)["Messages"]
    assert json.loads(message["Body"])["detail"] == detail
    assert events.describe_archive(ArchiveName="cv2kinesis-events-bus")["EventCount"] == 3
    # Nobody answers at the webhook, and nobody has the topic: what they do not take is kept.
    for rule in ("hook", "topic"):
        url = sqs.get_queue_url(QueueName=f"cv2kinesis-bus_events_{rule}")["QueueUrl"]
        kept = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
        assert len(kept) == 3

    environment.run("destroy", "-auto-approve", "-no-color")
    assert environment.state() == []
    assert [bus["Name"] for bus in events.list_event_buses()["EventBuses"]] == ["default"]
    assert events.list_connections()["Connections"] == []


def _unprotected(stack: dict[str, Any]) -> dict[str, Any]:
    for made in stack["resource"].values():
        for resource in made.values():
            resource.get("lifecycle", {}).pop("prevent_destroy", None)
    return stack
