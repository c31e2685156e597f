"""A correction where moto's ECS forgets what a service was made with.

moto 5.2 drops a service's `capacityProviderStrategy` and takes its tasks for EC2's. The service gives the strategy
back, and a launch type only where there is none:
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Service.html

`correct()` applies it to moto, once per process.
"""

from __future__ import annotations

from typing import Any

from moto.ecs.responses import EC2ContainerServiceResponse

_stock_create = EC2ContainerServiceResponse.create_service


def _create_service(self: EC2ContainerServiceResponse) -> Any:
    answer: Any = _stock_create(self)
    if strategy := self._get_param("capacityProviderStrategy"):
        # The service's defaults, which terraform reads back.
        made = answer.result["service"]
        made.capacity_provider_strategy = [{"weight": 0, "base": 0, **item} for item in strategy]
        made.launch_type = None
    return answer


def correct() -> None:
    """Applies the correction to moto."""
    EC2ContainerServiceResponse.create_service = _create_service  # type: ignore[method-assign]
