"""Corrections to moto's ECS.

- moto 5.2 runs no task of a service and says that all of them run. A service's counts and its rollout are told by its
  tasks: those of the group `service:NAME`, which `local.fargate` registers and which are healthy.
- moto's tasks pass through their lifecycle as they are described; here they run until they are stopped.
- moto drops a service's `capacityProviderStrategy` and takes its tasks for EC2's. The service gives the strategy back,
  and a launch type only where there is none:
  https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Service.html

`correct()` applies it to moto, once per process.
"""

from __future__ import annotations

from typing import Any

from moto.ecs.models import EC2ContainerServiceBackend, Service, Task
from moto.ecs.responses import EC2ContainerServiceResponse
from moto.moto_api import state_manager

_stock_create = EC2ContainerServiceResponse.create_service
_stock_begin: Any = Task.__init__
_stock_tasks = EC2ContainerServiceBackend.list_tasks


def _running(self: Service) -> int:
    tasks = self._backend.tasks.get(self.cluster_name, {}).values()
    own = [task for task in tasks if task.group == f"service:{self.name}" and task.last_status == "RUNNING"]
    return sum(task.task_definition_arn == self.task_definition for task in own)


def _pending(self: Service) -> int:
    return max(self.desired_count - _running(self), 0)


def _ignored(self: Service, value: object) -> None:
    """moto sets the counts itself."""


def _deployments(self: Service) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = self.__dict__.get("deployments", [])
    for deployment in told:
        running, pending = _running(self), _pending(self)
        state = "IN_PROGRESS" if pending else "COMPLETED"
        deployment.update(
            desiredCount=self.desired_count, runningCount=running, pendingCount=pending, rolloutState=state,
            taskDefinition=self.task_definition,
        )  # fmt: skip
    return told


def _set_deployments(self: Service, value: list[dict[str, Any]]) -> None:
    self.__dict__["deployments"] = value


def _begin_healthy(self: Any, *args: Any, **kwargs: Any) -> None:
    _stock_begin(self, *args, **kwargs)
    self.health_status = "HEALTHY"


def _list_tasks(self: EC2ContainerServiceBackend, *args: Any, **kwargs: Any) -> list[Task]:
    name = kwargs.get("service_name") or (args[4] if len(args) > 4 else None)
    found = _stock_tasks(self, *args, **kwargs)
    return [task for task in found if not name or task.group == f"service:{name.rpartition('/')[2]}"]


def _create_service(self: EC2ContainerServiceResponse) -> Any:
    answer: Any = _stock_create(self)
    if strategy := self._get_param("capacityProviderStrategy"):
        # The service's defaults, which terraform reads back.
        made = answer.result["service"]
        made.capacity_provider_strategy = [{"weight": 0, "base": 0, **item} for item in strategy]
        made.launch_type = None
    return answer


def _no_requirements(_: object) -> dict[str, Any]:
    """Of a container instance, which Fargate has none of; moto fails on a container without limits of its own."""
    return {"CPU": 0, "MEMORY": 0, "PORTS": [], "PORTS_UDP": []}


def correct() -> None:
    """Applies the corrections to moto."""
    service: Any = Service
    service.running_count = property(_running, _ignored)
    service.pending_count = property(_pending, _ignored)
    service.deployments = property(_deployments, _set_deployments)
    task: Any = Task
    task.__init__ = _begin_healthy
    backend: Any = EC2ContainerServiceBackend
    backend.list_tasks = _list_tasks
    backend._calculate_task_resource_requirements = staticmethod(_no_requirements)
    response: Any = EC2ContainerServiceResponse
    response.create_service = _create_service
    state_manager.set_transition("ecs::task", {"progression": "manual", "times": 10**9})
