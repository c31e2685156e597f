"""Stands in for Fargate: runs the worker for each task that a service on the embedded AWS wants.

A task is a worker process with the environment of the service's task definition and the credentials of its role. It
counts for ECS once its own /health says that it is well. A task that ends is replaced; one that is too many is stopped
with SIGTERM.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from cloud.errors import ERRORS
from local.processes import Worker
from local.repeating import Repeating

LOOK_SECONDS: Final = 0.5


class _Task:
    """A worker process; `arn` is its task's, once it is healthy."""

    def __init__(self, definition: str, worker: Worker) -> None:
        self.definition, self.worker = definition, worker
        self.arn = ""


class Fargate:
    """Keeps the tasks of one service.

    Args:
        connect: Makes a client of a service, as an administrator.
        environment: Of all workers, over the task definition's.
        credentials: Gives the credentials of a role, by its name.
        folder: For the workers' logs.

    Attributes:
        started: The number of tasks so far.
        definition: The family and revision of the last one.
    """

    def __init__(
        self,
        connect: Callable[[str], Any],
        cluster: str,
        service: str,
        environment: dict[str, str],
        credentials: Callable[[str], dict[str, str]],
        folder: Path,
    ) -> None:
        self._ecs, self._ec2 = connect("ecs"), connect("ec2")
        self._cluster, self._service = cluster, service
        self._environment, self.credentials, self._folder = environment, credentials, folder
        self._tasks: list[_Task] = []
        self.started, self.definition = 0, ""
        self._keeping = Repeating(self._keep, LOOK_SECONDS, "fargate")

    def __enter__(self) -> Self:
        self._keeping.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._keeping.stop()
        while self._tasks:
            self._stop(self._tasks[0])

    def _keep(self) -> None:
        with suppress(*ERRORS):  # no service yet, or no longer
            self._look()

    def _look(self) -> None:
        found = self._ecs.describe_services(cluster=self._cluster, services=[self._service])["services"]
        service = next((each for each in found if each["status"] == "ACTIVE"), None)
        wanted, definition = (service["desiredCount"], service["taskDefinition"]) if service else (0, "")
        for task in list(self._tasks):
            if not task.worker.alive:
                self._stop(task)
            elif not task.arn and service and task.worker.healthy:
                self._register(task, service)
        current = [task for task in self._tasks if task.definition == definition]
        for _ in range(wanted - len(current)):
            self._tasks.append(_Task(definition, self._start(definition)))
        # The old tasks go once the new ones are healthy.
        ready = sum(bool(task.arn) for task in current) >= wanted
        for task in [*current[wanted:], *(task for task in self._tasks if ready and task.definition != definition)]:
            self._stop(task)

    def _start(self, definition: str) -> Worker:
        described = self._ecs.describe_task_definition(taskDefinition=definition)["taskDefinition"]
        [container] = described["containerDefinitions"]
        given = {entry["name"]: entry["value"] for entry in container["environment"]}
        role = self.credentials(described["taskRoleArn"].rpartition("/")[2])
        self.started, self.definition = self.started + 1, definition.rpartition("/")[2]
        return Worker(given | self._environment | role, self._folder / f"task-{self.started}.log")

    def _register(self, task: _Task, service: dict[str, Any]) -> None:
        [made] = self._ecs.run_task(
            cluster=self._cluster, taskDefinition=task.definition, launchType="FARGATE",
            group=f"service:{self._service}", networkConfiguration=service["networkConfiguration"],
        )["tasks"]  # fmt: skip
        task.arn = made["taskArn"]

    def _stop(self, task: _Task) -> None:
        self._tasks.remove(task)
        task.worker.stop()
        if not task.arn:
            return
        with suppress(*ERRORS):  # its cluster may be gone
            stopped = self._ecs.stop_task(cluster=self._cluster, task=task.arn)["task"]
            for attachment in stopped["attachments"]:
                details = {detail["name"]: detail["value"] for detail in attachment["details"]}
                self._ec2.delete_network_interface(NetworkInterfaceId=details["networkInterfaceId"])
