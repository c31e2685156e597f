"""Events on their way to the bucket, the queue and EventBridge."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from contract.event import EventMessage
from kcl_worker.errors import ServiceError
from kcl_worker.storing.caller import Caller
from kcl_worker.storing.event_sink import EventBus, EventSink
from kcl_worker.storing.sinks import FrameStore, MessageQueue
from local.resources import Resources
from tests.happenings import happening
from tests.unit.test_pipeline import messages


class Grudging:
    """EventBridge, that refuses the first entries in answers that succeed."""

    def __init__(self, client: Any, *codes: str) -> None:
        self._client, self._codes, self.calls = client, [*codes], 0

    def put_events(self, **arguments: Any) -> Any:
        self.calls += 1
        if self._codes:
            entry = {"ErrorCode": self._codes.pop(0), "ErrorMessage": "not now"}
            return {"FailedEntryCount": 1, "Entries": [entry]}
        return self._client.put_events(**arguments)


def bus_with_a_queue(resources: Resources) -> tuple[str, str]:
    """A bus whose only rule leads to a queue; their name and address."""
    events, sqs, name = resources.client("events"), resources.client("sqs"), resources.stream
    url = sqs.create_queue(QueueName=f"{name}-target")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.create_event_bus(Name=name)
    pattern = {"source": ["cv2kinesis"], "detail-type": ["event end"], "detail": {"zone": ["step"]}}
    events.put_rule(Name="visits", EventBusName=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule="visits", EventBusName=name, Targets=[{"Id": "queue", "Arn": arn}])
    return name, url


async def test_an_event_is_stored_then_sent_everywhere(resources: Resources) -> None:
    caller, (name, target) = Caller(), bus_with_a_queue(resources)
    store = FrameStore(resources.client("s3"), resources.bucket, caller)
    queue = MessageQueue(resources.client("sqs"), resources.events_url, caller)
    bus = EventBus(Grudging(resources.client("events"), "ThrottlingException", "InternalFailure"), name, caller)
    event = happening(resources.bucket, zone="step")
    sending = asyncio.create_task(queue.run())
    await EventSink(store, queue, bus).send(event, None)
    sending.cancel()
    assert [EventMessage.model_validate_json(body) for body in messages(resources, resources.events_url)] == [event]
    [body] = messages(resources, target)
    assert EventMessage.model_validate(json.loads(body)["detail"]) == event
    stored = resources.client("s3").get_object(Bucket=resources.bucket, Key=event.index_key)["Body"].read()
    assert EventMessage.model_validate_json(stored) == event


@pytest.mark.parametrize("code", ["NotAuthorizedForSourceException", "MalformedDetail"])
async def test_what_will_never_be_taken_ends_the_worker(resources: Resources, code: str) -> None:
    bus = EventBus(Grudging(resources.client("events"), code), "bus", Caller())
    with pytest.raises(ServiceError, match=f"events put bus: {code}"):
        await bus.put(happening(resources.bucket))
