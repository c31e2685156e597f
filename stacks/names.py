"""What an environment's resources are called, and their ARNs.

Resources and the policies that allow their use take both from here, so that no policy names what is not there.
"""

from __future__ import annotations

from typing import Final

from stacks.config import Config

# The tag that tells an account's environments apart on the bill.
PIPELINE_TAG: Final = "pipeline"
# Of the alarms that tell the topic, and of those that change the number of tasks.
ALARMS: Final = (
    "lag", "unowned", "waiting", "dead-letters", "quarantine", "write-throttled", "read-throttled", "unhealthy",
    "crash-loop", "frames-stopped", "results-age", "tasks-missing",
    "metrics-missing", "lines-dropped", "events-age", "events-dead-letters",
)  # fmt: skip
SCALING_ALARMS: Final = ("wake", "knock", "sleep", "out", "out-unowned", "in")


class Names:
    """The names of one environment; all end with its suffix, but for those of rules, which have it in their midst."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def own(self, part: str = "") -> str:
        """A name that tells only what the thing is for: `cv2kinesis-alarms-prod`."""
        return self._config.name(f"cv2kinesis-{part}" if part else "cv2kinesis")

    @property
    def stream(self) -> str:
        """Of the stream, the KCL application and its leases, and the registry of images."""
        return self._config.name(self._config.stream.name)

    @property
    def tables(self) -> tuple[str, str, str]:
        """Of leases, workers' reports and the leader's lock, as KCL 3 calls them."""
        return self.stream, f"{self.stream}-WorkerMetricStats", f"{self.stream}-CoordinatorState"

    @property
    def results(self) -> str:
        return self._config.name(self._config.storage.queue)

    @property
    def dead_letters(self) -> str:
        return self._config.name(f"{self._config.storage.queue}-dlq")

    @property
    def quarantine(self) -> str:
        return self._config.name(f"{self._config.storage.queue}-quarantine")

    @property
    def events(self) -> str:
        """Of the queue of events."""
        return self._config.name(f"{self._config.storage.queue}-events")

    @property
    def events_dead_letters(self) -> str:
        return self._config.name(f"{self._config.storage.queue}-events-dlq")

    @property
    def bus(self) -> str:
        """Of the bus of events and its archive."""
        return self.own("events")

    def of_rule(self, rule: str) -> str:
        """Of what a rule of the bus takes: its dead letters, alarm, topic, connection and destination.

        The suffix is not at the end, so that the pattern of all rules, `cv2kinesis_events_*`, is that of one
        environment's.
        """
        return f"{self.own()}_events_{rule}"

    def destination(self, account: str, rule: str) -> str:
        """The ARN of a rule's webhook, which AWS ends with an id."""
        return self.arn(account, "events", f"api-destination/{self.of_rule(rule)}/*")

    @property
    def log(self) -> str:
        return self._config.name("/ecs/videoPipeline")

    @property
    def failures_log(self) -> str:
        """Where the AWS console looks for logs of events."""
        return self._config.name("/aws/events/cv2kinesis-task-failures")

    @property
    def cluster(self) -> str:
        return self._config.name("VideoPipelineStack-Cluster")

    @property
    def service(self) -> str:
        return self._config.name("VideoPipelineStack-Service")

    @property
    def task_family(self) -> str:
        return self._config.name("videoPipeline")

    @property
    def dashboard(self) -> str:
        return self._config.name("VideoPipeline")

    @property
    def alarms(self) -> list[str]:
        """Patterns of all alarms that the stack makes, and of none of another environment."""
        if self._config.suffix:
            return [self.own("*"), self.of_rule("*")]
        own = [self.own(alarm) for alarm in (*ALARMS, *(f"scaling-{alarm}" for alarm in SCALING_ALARMS))]
        return [*own, self.of_rule("*")]

    @property
    def key(self) -> str:
        """The alias of the environment's own key."""
        return f"alias/{self.own()}"

    def parameter(self, name: str) -> str:
        """Of a parameter in Parameter Store."""
        return f"/{self.own()}/{name}"

    def bucket(self, account: str, region: str | None = None) -> str:
        """Of the bucket of frames in a region, its own by default."""
        return self._config.name(self._config.storage.bucket_name(account, region or self._config.region))

    def arn(self, account: str, service: str, resource: str) -> str:
        """The ARN of a resource in the environment's region."""
        return f"arn:aws:{service}:{self._config.region}:{account}:{resource}"
