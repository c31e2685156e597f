"""The embedded AWS's EventBridge, where moto's was corrected."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from local.processes import Aws
from local.resources import client

DETAIL = {"source": "door", "event": "appear", "rule": "visitor", "phase": "start", "zone": "step"}
ACCOUNT = "123456789012"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with Aws(log=Path(tmp_path_factory.mktemp("events")) / "aws.log") as server:
        yield server


class Bus:
    """A bus with a rule for events of doors."""

    def __init__(self, aws: Aws) -> None:
        self.events, self.sqs = client("events", aws.url), client("sqs", aws.url)
        self.name = f"bus-{uuid4().hex[:8]}"
        self.events.create_event_bus(Name=self.name)
        pattern = json.dumps({"source": ["cv2kinesis"], "detail": {"source": ["door"], "zone": ["step", "hall"]}})
        self.events.put_rule(Name="doors", EventBusName=self.name, EventPattern=pattern)
        self.dead_letters = self.queue()

    def queue(self) -> str:
        """The ARN of a new queue."""
        url = self.sqs.create_queue(QueueName=uuid4().hex)["QueueUrl"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        return str(attributes["QueueArn"])

    def target(self, arn: str, **more: Any) -> None:
        dead = {"Arn": self.dead_letters}
        target = {"Id": "t", "Arn": arn, "DeadLetterConfig": dead} | more
        self.events.put_targets(Rule="doors", EventBusName=self.name, Targets=[target])

    def put(self, **detail: Any) -> None:
        entry = {"Source": "cv2kinesis", "DetailType": "event start", "EventBusName": self.name}
        entry["Detail"] = json.dumps(DETAIL | detail)
        assert self.events.put_events(Entries=[entry])["FailedEntryCount"] == 0

    def take(self, queue: str) -> list[dict[str, Any]]:
        url = self.sqs.get_queue_url(QueueName=queue.rpartition(":")[2])["QueueUrl"]
        found = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
        return list(found.get("Messages", []))


@pytest.fixture
def bus(aws: Aws) -> Bus:
    return Bus(aws)


def test_an_event_that_a_rule_lets_through_is_in_its_queue(bus: Bus) -> None:
    queue = bus.queue()
    bus.target(queue)
    bus.put()
    bus.put(source="gate")  # not of this rule
    bus.put(zone="yard")
    [message] = bus.take(queue)
    event = json.loads(message["Body"])
    assert (event["source"], event["detail-type"], event["detail"]) == ("cv2kinesis", "event start", DETAIL)
    assert event["time"].endswith("Z")
    assert "ingestion-time" not in event
    bus.events.disable_rule(Name="doors", EventBusName=bus.name)
    bus.put()
    assert bus.take(queue) == []


def test_a_topic_gets_the_line_that_the_template_makes(aws: Aws, bus: Bus) -> None:
    sns, queue = client("sns", aws.url), bus.queue()
    topic = sns.create_topic(Name=uuid4().hex)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
    paths = {"source": "$.detail.source", "event": "$.detail.event"}
    bus.target(topic, InputTransformer={"InputPathsMap": paths, "InputTemplate": '"<source>: <event>"'})
    bus.put()
    [message] = bus.take(queue)
    assert json.loads(message["Body"])["Message"] == '"door: appear"'


def test_a_webhook_gets_the_event_and_the_secret_which_nobody_else_is_told(bus: Bus) -> None:
    got: list[tuple[str | None, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.headers["X-Key"], json.loads(body)))
            self.send_response(204 if len(got) == 1 else 500)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        key = {"ApiKeyAuthParameters": {"ApiKeyName": "X-Key", "ApiKeyValue": "first"}}
        made = bus.events.create_connection(Name=bus.name, AuthorizationType="API_KEY", AuthParameters=key)
        key["ApiKeyAuthParameters"]["ApiKeyValue"] = "hush"
        bus.events.update_connection(Name=bus.name, AuthorizationType="API_KEY", AuthParameters=key)
        assert "hush" not in str(bus.events.describe_connection(Name=bus.name))
        destination = bus.events.create_api_destination(
            Name=bus.name, ConnectionArn=made["ConnectionArn"], HttpMethod="POST",
            InvocationEndpoint=f"http://127.0.0.1:{server.server_port}/events",
        )["ApiDestinationArn"]  # fmt: skip
        bus.target(destination)
        bus.put()
        [(value, event)] = got
        assert (value, event["detail"]) == ("hush", DETAIL)
        assert bus.take(bus.dead_letters) == []
        bus.put()  # which it refuses
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    [lost] = bus.take(bus.dead_letters)
    assert json.loads(lost["Body"])["detail"] == DETAIL
    assert lost["MessageAttributes"]["TARGET_ARN"]["StringValue"] == destination


def test_another_accounts_bus_gets_the_event(aws: Aws, bus: Bus) -> None:
    other = Bus(aws)
    queue = other.queue()
    other.target(queue)
    bus.target(f"arn:aws:events:eu-central-1:{ACCOUNT}:event-bus/{other.name}")
    bus.put()
    [message] = other.take(queue)
    assert json.loads(message["Body"])["detail"] == DETAIL


def test_what_a_target_does_not_take_is_a_dead_letter(bus: Bus) -> None:
    missing = f"arn:aws:sqs:eu-central-1:{ACCOUNT}:missing"
    bus.target(missing)
    bus.put()
    [lost] = bus.take(bus.dead_letters)
    assert json.loads(lost["Body"])["detail"] == DETAIL
    assert lost["MessageAttributes"]["RULE_ARN"]["StringValue"].endswith(f"rule/{bus.name}/doors")


def test_an_archive_plays_events_again(bus: Bus) -> None:
    arn = bus.events.describe_event_bus(Name=bus.name)["Arn"]
    archive = bus.events.create_archive(ArchiveName=bus.name, EventSourceArn=arn)["ArchiveArn"]
    queue = bus.queue()
    bus.target(queue)
    bus.put()
    assert len(bus.take(queue)) == 1
    bus.events.start_replay(
        ReplayName=bus.name, EventSourceArn=archive, Destination={"Arn": arn},
        EventStartTime="2020-01-01T00:00:00Z", EventEndTime="2100-01-01T00:00:00Z",
    )  # fmt: skip
    [again] = bus.take(queue)
    assert json.loads(again["Body"])["detail"] == DETAIL
