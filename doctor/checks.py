"""The hops of a frame, each checked from outside."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from doctor.aggregates import aggregates
from doctor.finding import Finding
from doctor.latest import RECENT_MINUTES, Latest, latest
from doctor.leases import leases
from doctor.place import HopError, Place, ask, named
from doctor.sources import sources
from doctor.worker import worker

DEPLOY: Final = "`make deploy`, or the name is wrong: `make -s outputs > outputs.json`, --from-outputs outputs.json"


def all_checks(place: Place, worker_url: str | None) -> Iterator[Finding]:
    """Checks every hop, first to last; a hop with a problem does not keep the others from being checked."""
    checks: list[Callable[[], Iterable[Finding]]] = [
        lambda: [credentials(place)],
        lambda: [stream(place)],
        lambda: _of_records(latest(place)),
        lambda: [tasks(place)],
        lambda: [leases(place)],
        lambda: [worker(worker_url)],
        lambda: [bucket(place)],
        lambda: [results(place)],
        lambda: [quarantine(place)],
    ]
    for check in checks:
        try:
            yield from check()
        except HopError as error:
            yield error.finding
            if error.finding.hop == "credentials":
                return


def _of_records(recent: Latest) -> list[Finding]:
    return [records(recent), aggregates(recent), sources(recent)]


def credentials(place: Place) -> Finding:
    """Which identity the credentials belong to."""
    identity = ask("credentials", "sts:GetCallerIdentity", place.client("sts").get_caller_identity, "")
    return Finding("credentials", "well", f"{identity['Arn']} in {place.region}")


def stream(place: Place) -> Finding:
    """Whether the stream takes records."""
    named("stream", place.stream, "KINESIS_STREAM_NAME")
    answer = ask(
        "stream", "kinesis:DescribeStreamSummary",
        lambda: place.client("kinesis").describe_stream_summary(StreamName=place.stream),
        f"there is no stream {place.stream} in {place.region}", DEPLOY,
    )  # fmt: skip
    summary = answer["StreamDescriptionSummary"]
    says = f"{place.stream}: {summary['StreamStatus']}, {summary['OpenShardCount']} open shards, "
    says += f"kept {summary['RetentionPeriodHours']} h"
    if summary["StreamStatus"] not in ("ACTIVE", "UPDATING"):
        return Finding("stream", "wrong", says, "wait until it is ACTIVE")
    return Finding("stream", "well", says)


def records(recent: Latest) -> Finding:
    """Whether anything was put on the stream lately."""
    with_records = sum(bool(found) for _, found in recent)
    says = f"{with_records} of {len(recent)} shards have records of the last {RECENT_MINUTES} minutes"
    if not with_records:
        return Finding(
            "records", "unsure", says, "no camera sends, or to another stream or region: `producer send demo` to try"
        )
    return Finding("records", "well", says)


def tasks(place: Place) -> Finding:
    """Whether as many tasks run as are wanted, and if not, what ECS says about it."""
    if not place.cluster or not place.service:
        return Finding("tasks", "skipped", "no ECS service is known", "--from-outputs outputs.json names it")
    ecs = place.client("ecs")
    answer = ask(
        "tasks", "ecs:DescribeServices",
        lambda: ecs.describe_services(cluster=place.cluster, services=[place.service]),
        f"there is no cluster {place.cluster}", DEPLOY,
    )  # fmt: skip
    if not (found := [service for service in answer["services"] if service["status"] == "ACTIVE"]):
        return Finding("tasks", "wrong", f"there is no service {place.service}", DEPLOY)
    [service] = found
    desired, running, pending = (service[f"{kind}Count"] for kind in ("desired", "running", "pending"))
    says = f"{running} of {desired} tasks run"
    if not desired:
        return Finding("tasks", "unsure", f"{says}: asleep", "a record wakes one, in about three minutes")
    if running >= desired:
        return Finding("tasks", "well", says)
    if reason := _last_stop(ecs, place):
        return Finding("tasks", "wrong", f"{says}, {pending} start; the last that stopped: {reason}", "`make logs`")
    events = [str(event["message"]) for event in service.get("events", [])[:1]]
    return Finding("tasks", "wrong", "; ".join([f"{says}, {pending} start", *events]), "`make status`, `make logs`")


def _last_stop(ecs: Any, place: Place) -> str:
    """Why a task has stopped lately, by ECS's words and its exit status."""
    which = {"cluster": place.cluster, "serviceName": place.service, "desiredStatus": "STOPPED"}
    arns = ask("tasks", "ecs:ListTasks", lambda: ecs.list_tasks(**which)["taskArns"], "")
    if not arns:
        return ""
    stopped = ask(
        "tasks", "ecs:DescribeTasks", lambda: ecs.describe_tasks(cluster=place.cluster, tasks=arns[:100])["tasks"], ""
    )
    last = max(stopped, key=lambda task: task.get("stoppedAt", datetime.min.replace(tzinfo=UTC)))
    statuses = [f"status {c['exitCode']}" for c in last.get("containers", []) if c.get("exitCode") is not None]
    return ", ".join([str(last.get("stoppedReason", "no reason given")), *statuses])


def bucket(place: Place) -> Finding:
    """Whether the bucket of frames exists and can be read."""
    named("bucket", place.bucket, "S3_BUCKET_NAME")
    s3 = place.client("s3")
    answer = ask(
        "bucket", "s3:ListBucket", lambda: s3.list_objects_v2(Bucket=place.bucket, Prefix="frames/", MaxKeys=1),
        f"there is no bucket {place.bucket}", DEPLOY,
    )  # fmt: skip
    if not answer.get("KeyCount"):
        return Finding("bucket", "unsure", f"{place.bucket}: no frame yet", "none was processed, or all have expired")
    return Finding("bucket", "well", f"{place.bucket}: frames are there")


def results(place: Place) -> Finding:
    """Whether consumers take the results, and whether there are dead letters."""
    named("results", place.queue, "SQS_QUEUE_URL")
    attributes = _attributes("results", place, place.queue)
    waiting, hidden = (int(attributes[f"ApproximateNumberOfMessages{kind}"]) for kind in ("", "NotVisible"))
    says = f"{waiting} messages wait, {hidden} are in a consumer's hands"
    if redrive := attributes.get("RedrivePolicy"):
        name = str(json.loads(redrive)["deadLetterTargetArn"]).rpartition(":")[2]
        url = ask(
            "results", "sqs:GetQueueUrl", lambda: place.client("sqs").get_queue_url(QueueName=name)["QueueUrl"], ""
        )
        dead = int(_attributes("results", place, url)["ApproximateNumberOfMessages"])
        says += f", {dead} are dead letters"
        if dead:
            advice = (
                f"a consumer failed on them five times: look at some of {name}, mend it, redrive them in the console"
            )
            return Finding("results", "unsure", says, advice)
    return Finding("results", "well", says, "" if waiting < 1000 else "nobody takes them: `consumer watch`")


def quarantine(place: Place) -> Finding:
    """Records that were not frames."""
    if not place.quarantine:
        return Finding("quarantine", "skipped", "no queue of notices is known", "QUARANTINE_QUEUE_URL")
    waiting = int(_attributes("quarantine", place, place.quarantine)["ApproximateNumberOfMessages"])
    if waiting:
        return Finding(
            "quarantine", "unsure", f"{waiting} records were no frames", "`consumer quarantine list` says why"
        )
    return Finding("quarantine", "well", "empty")


def _attributes(hop: str, place: Place, url: str) -> dict[str, str]:
    answer = ask(
        hop, "sqs:GetQueueAttributes",
        lambda: place.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"]),
        f"there is no queue {url}", DEPLOY,
    )  # fmt: skip
    attributes: dict[str, str] = answer["Attributes"]
    return attributes
