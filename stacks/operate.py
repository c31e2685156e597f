"""Commands for a deployed environment: restart, logs, status."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Final

from contract.metrics import WORKERS
from stacks.config import Config
from stacks.errors import DeployError
from stacks.names import Names

Client = Callable[[str], Any]

STABLE_SECONDS: Final = 900
POLL_SECONDS: Final = 5
LOG_POLL_SECONDS: Final = 2


@dataclass
class Status:
    """The state of an environment; None for what could not be found."""

    service: str
    desired: int
    running: int
    pending: int
    rollout: str
    image: str
    stream: str
    shards: int
    lag_seconds: float | None
    leases: dict[str, str] = field(default_factory=dict)
    queues: dict[str, int] = field(default_factory=dict)
    alarms: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The status for programs."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The status for people."""
        lag = "nobody reads" if self.lag_seconds is None else f"{self.lag_seconds:.0f} s"
        return [
            f"service    {self.service}: {self.running} running, {self.pending} pending, {self.desired} desired",
            f"rollout    {self.rollout}, image {self.image}",
            f"stream     {self.stream}: {self.shards} open shards, lag {lag}",
            *(f"lease      {shard}: {owner or 'free'}" for shard, owner in sorted(self.leases.items())),
            *(f"queue      {name}: {number} messages" for name, number in self.queues.items()),
            f"alarms     {', '.join(self.alarms) or 'none'}",
        ]


def describe_service(ecs: Any, config: Config) -> dict[str, Any]:
    """ECS's description of the service.

    Raises:
        DeployError: If there is none.
    """
    if described := find_service(ecs, config):
        return described
    raise DeployError(f"no service {Names(config).service} in {config.region}: run `make deploy`")


def find_service(ecs: Any, config: Config) -> dict[str, Any] | None:
    """ECS's description of the service, if there is one."""
    names = Names(config)
    try:
        found = ecs.describe_services(cluster=names.cluster, services=[names.service])["services"]
    except ecs.exceptions.ClusterNotFoundException:
        return None
    return found[0] if found and found[0]["status"] == "ACTIVE" else None


def restart(client: Client, config: Config) -> None:
    """Has ECS start new tasks, then stop the old ones.

    Raises:
        DeployError: If there is no service, or no task runs that could be restarted.
    """
    ecs = client("ecs")
    service = describe_service(ecs, config)
    if not service["desiredCount"]:
        raise DeployError("no task is wanted now: the next frame starts a new one")
    begin_anew(ecs, config)
    wait_until_stable(ecs, config)


def wake(ecs: Any, config: Config) -> None:
    """Starts a task if none is wanted; it sleeps again when it has had nothing to do for a while.

    Raises:
        DeployError: If there is no service.
    """
    service = describe_service(ecs, config)
    if not service["desiredCount"]:
        ecs.update_service(cluster=service["clusterArn"], service=service["serviceName"], desiredCount=1)


def begin_anew(ecs: Any, config: Config) -> None:
    """Has ECS begin another deployment of what is deployed, whatever has become of the last one."""
    service = describe_service(ecs, config)
    ecs.update_service(cluster=service["clusterArn"], service=service["serviceName"], forceNewDeployment=True)


def wait_until_stable(ecs: Any, config: Config, seconds: float = STABLE_SECONDS, *, least: int = 0) -> str:
    """Waits until all tasks of the current deployment are healthy; gives a line about its result.

    Args:
        least: At least so many. Where autoscaling stops the last task meanwhile, one is started again.

    Raises:
        DeployError: If it fails, is rolled back or takes too long.
    """
    deadline, before = time.monotonic() + seconds, ""
    wanted = describe_service(ecs, config)["taskDefinition"]
    while True:
        service = describe_service(ecs, config)
        primary = next(d for d in service["deployments"] if d["status"] == "PRIMARY")
        healthy, desired = _healthy(ecs, service), service["desiredCount"]
        state = f"{healthy} of {desired} tasks healthy"
        if primary.get("rolloutState") == "FAILED" or service["taskDefinition"] != wanted:
            raise DeployError(f"the deployment failed and is rolled back: {primary.get('rolloutStateReason', state)}")
        if desired < least:
            wake(ecs, config)
        elif primary.get("rolloutState") == "COMPLETED" and healthy >= desired:
            return state if desired else "asleep: the first frame starts a task (`make smoke` proves it)"
        if time.monotonic() > deadline:
            raise DeployError(f"not stable after {seconds:.0f} s ({state}): `make logs` and `make status` say more")
        if state != before:
            print(f"  {state}", flush=True)
            before = state
        time.sleep(POLL_SECONDS)


def _healthy(ecs: Any, service: dict[str, Any]) -> int:
    """The number of a service's tasks that run what is deployed and whose container is healthy.

    ECS counts a task as running before it has asked for its health:
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/healthcheck.html
    """
    cluster = service["clusterArn"]
    pages = ecs.get_paginator("list_tasks").paginate(cluster=cluster, serviceName=service["serviceName"])
    return sum(
        task.get("healthStatus") == "HEALTHY" and task["taskDefinitionArn"] == service["taskDefinition"]
        for page in pages
        if page["taskArns"]  # a page has a hundred at most, and so has a description
        for task in ecs.describe_tasks(cluster=cluster, tasks=page["taskArns"])["tasks"]
    )


def logs(client: Client, config: Config, since: timedelta, follow: bool) -> Iterator[str]:
    """Yields the worker's log lines since some time ago, and new ones as they come.

    Raises:
        DeployError: If there is no log.
    """
    cloudwatch, group = client("logs"), Names(config).log
    start, seen = int((datetime.now(UTC) - since).timestamp() * 1000), dict[str, int]()
    while True:
        try:
            pages = cloudwatch.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=start)
            for event in (event for page in pages for event in page["events"]):
                if event["eventId"] not in seen:
                    seen[event["eventId"]] = event["timestamp"]
                    yield event["message"].rstrip()
        except cloudwatch.exceptions.ResourceNotFoundException:
            raise DeployError(f"no log group {group} in {config.region}: run `make deploy`") from None
        if not follow:
            return
        # The next read starts at the latest millisecond again, whose lines may not have been complete.
        start = max(seen.values(), default=start)
        seen = {event: at for event, at in seen.items() if at == start}
        time.sleep(LOG_POLL_SECONDS)


def status(client: Client, config: Config) -> Status:
    """Asks every service for its part of the status.

    Raises:
        DeployError: If nothing is deployed.
    """
    ecs, kinesis = client("ecs"), client("kinesis")
    service = describe_service(ecs, config)
    [container] = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"][
        "containerDefinitions"
    ]
    primary = next(d for d in service["deployments"] if d["status"] == "PRIMARY")
    stream = Names(config).stream
    return Status(
        service=service["serviceName"],
        desired=service["desiredCount"],
        running=service["runningCount"],
        pending=service["pendingCount"],
        rollout=primary.get("rolloutState", "unknown").lower().replace("_", " "),
        image=container["image"].rpartition(":")[2],
        stream=stream,
        shards=kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["OpenShardCount"],
        lag_seconds=_lag(client("cloudwatch"), stream),
        leases=_leases(client("dynamodb"), stream),
        queues=_queues(client("sqs"), config),
        alarms=_alarms(client("cloudwatch"), config),
    )


def _lag(cloudwatch: Any, stream: str) -> float | None:
    now = datetime.now(UTC)
    points = cloudwatch.get_metric_statistics(
        Namespace=WORKERS,
        MetricName="MillisBehindLatest",
        Dimensions=[{"Name": name, "Value": stream} for name in ("StreamName", "Application")],
        StartTime=now - timedelta(minutes=5),
        EndTime=now,
        Period=60,
        Statistics=["Maximum"],
    )["Datapoints"]
    latest = max(points, key=lambda point: point["Timestamp"], default=None)
    return latest["Maximum"] / 1000 if latest else None


def _leases(dynamodb: Any, table: str) -> dict[str, str]:
    pages = dynamodb.get_paginator("scan").paginate(TableName=table)
    return {
        item["leaseKey"]["S"]: item.get("leaseOwner", {}).get("S", "")
        for page in pages
        for item in page["Items"]
        if item.get("checkpoint", {}).get("S") != "SHARD_END"
    }


def _queues(sqs: Any, config: Config) -> dict[str, int]:
    found = {}
    names, attribute = Names(config), "ApproximateNumberOfMessages"
    for name in (names.results, names.dead_letters, names.events, names.events_dead_letters, names.quarantine):
        try:
            url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        except sqs.exceptions.QueueDoesNotExist:
            continue  # what is deployed may be older than this checkout
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[attribute])["Attributes"]
        found[name] = int(attributes[attribute])
    return found


def _alarms(cloudwatch: Any, config: Config) -> list[str]:
    """This environment's active alarms, without those of autoscaling, which are normal."""
    pages = cloudwatch.get_paginator("describe_alarms").paginate(AlarmNamePrefix="cv2kinesis", StateValue="ALARM")
    names = [alarm["AlarmName"] for page in pages for alarm in page.get("MetricAlarms", [])]
    environment, suffix = Names(config), config.suffix
    patterns, of_rules = environment.alarms, f"{environment.own()}_"
    own = [name for name in names if any(fnmatchcase(name, p) for p in patterns) and "-scaling-" not in name]
    return sorted(name.removeprefix(of_rules).removeprefix("cv2kinesis-").removesuffix(suffix) for name in own)
