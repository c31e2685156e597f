"""Quotas that moto does not know: of its Service Quotas, 5.2 has those of VPC alone.

The values are those of a new account: https://docs.aws.amazon.com/general/latest/gr/ecs-service.html (Fargate) and
https://docs.aws.amazon.com/general/latest/gr/ec2-service.html.

`correct()` adds them to moto, once per process.
"""

from __future__ import annotations

from typing import Any, Final

from moto.servicequotas.models import ServiceQuotasBackend

QUOTAS: Final[dict[tuple[str, str], dict[str, Any]]] = {
    ("fargate", "L-3032A538"): {
        "QuotaName": "Fargate On-Demand vCPU resource count",
        "Value": 6.0,
        "UsageMetric": {
            "MetricNamespace": "AWS/Usage",
            "MetricName": "ResourceCount",
            "MetricDimensions": {
                "Class": "Standard/OnDemand", "Resource": "vCPU", "Service": "Fargate", "Type": "Resource",
            },
            "MetricStatisticRecommendation": "Maximum",
        },
    },
    ("ec2", "L-0263D0A3"): {"QuotaName": "EC2-VPC Elastic IPs", "Value": 5.0},
}  # fmt: skip

_stock = ServiceQuotasBackend.get_service_quota


def _get_service_quota(self: ServiceQuotasBackend, service_code: str, quota_code: str) -> dict[str, Any]:
    if quota := QUOTAS.get((service_code, quota_code)):
        return quota | {"ServiceCode": service_code, "QuotaCode": quota_code, "Adjustable": True, "GlobalQuota": False}
    return _stock(self, service_code, quota_code)


def correct() -> None:
    """Adds the quotas to moto."""
    ServiceQuotasBackend.get_service_quota = _get_service_quota  # type: ignore[method-assign]
