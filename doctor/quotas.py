"""Whether an account's quotas leave room for an environment, before or after it is deployed.

What an environment needs at its largest comes from its file: `make preflight`. What is used is the whole account's,
this environment's own among it once it is deployed.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from doctor.finding import Finding
from doctor.place import HopError, Place, ask

HOP: Final = "quota"
# A quota's code is the same in every account and region; `aws service-quotas list-service-quotas` lists them.
VCPUS: Final = ("fargate", "L-3032A538")
SPOT_VCPUS: Final = ("fargate", "L-36FBB829")
VPCS: Final = ("vpc", "L-F678F1CE")
GATEWAYS_IN_ZONE: Final = ("vpc", "L-FE5A380F")
ADDRESSES: Final = ("ec2", "L-0263D0A3")
# Of one stream. https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
CONSUMERS: Final = 20
# AWS counts tasks every minute, and some minutes late.
USAGE_MINUTES: Final = 15


class NeedsError(Exception):
    """A file does not hold an environment's needs; the error's text is one line."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What an environment takes at its largest.

    Attributes:
        vcpus, spot_vcpus: Of all its tasks.
        shards: When provisioned.
        streams: On demand.
        consumers: With enhanced fan-out, of its stream.
        gateways_in_zone: NAT gateways in one zone.
    """

    region: str = ""
    vcpus: float = 0
    spot_vcpus: float = 0
    shards: float = 0
    streams: float = 0
    consumers: float = 0
    vpcs: float = 0
    addresses: float = 0
    gateways_in_zone: float = 0

    @classmethod
    def read(cls, path: Path) -> Needs:
        """Reads what `python -m stacks.cli needs` printed.

        Raises:
            NeedsError: If that is something else.
        """
        try:
            values = json.loads(path.read_text())
            numbers = {field.name: float(values.get(field.name, 0)) for field in fields(cls) if field.name != "region"}
            if not all(0 <= number < math.inf for number in numbers.values()):
                raise ValueError
            return cls(region=str(values["region"]), **numbers)
        except OSError as error:
            raise NeedsError(f"{path}: {error.strerror}") from None
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
            raise NeedsError(f"{path}: not what `python -m stacks.cli needs` prints") from None


def quotas(place: Place, needs: Needs) -> Iterator[Finding]:
    """A finding for each quota that the environment touches; without a right to ask for it, it is skipped."""
    checks: list[tuple[float, Callable[[float], Finding]]] = [
        (needs.vcpus, lambda need: _vcpus(place, need, VCPUS, "vCPUs of Fargate")),
        (needs.spot_vcpus, lambda need: _vcpus(place, need, SPOT_VCPUS, "vCPUs of Fargate Spot")),
        (needs.shards, lambda need: _kinesis(place, need, "ShardLimit", "OpenShardCount", "shards")),
        (needs.streams, lambda need: _kinesis(
            place, need, "OnDemandStreamCountLimit", "OnDemandStreamCount", "streams on demand"
        )),
        (needs.consumers, lambda need: _consumers(place, need)),
        (needs.vpcs, lambda need: _found(need, _limit(place, VPCS), _vpcs(place), "VPCs")),
        (needs.addresses, lambda need: _found(need, _limit(place, ADDRESSES), _addresses(place), "elastic addresses")),
        (needs.gateways_in_zone, lambda need: _found(
            need, _limit(place, GATEWAYS_IN_ZONE), _gateways(place), "NAT gateways in a zone"
        )),
    ]  # fmt: skip
    for need, check in checks:
        if not need:
            continue
        try:
            yield check(need)
        except HopError as error:
            yield Finding(HOP, "skipped", error.finding.says, error.finding.advice)


def _found(need: float, limit: float, used: float | None, what: str) -> Finding:
    """What a quota leaves.

    Args:
        used: None if nobody knows.
    """
    says = f"{need:g} of at most {limit:g} {what} at its largest; "
    says += "how many are in use is not known" if used is None else f"{used:g} are in use"
    if need > limit:
        return Finding(HOP, "wrong", says, "ask for more: https://console.aws.amazon.com/servicequotas")
    if used is not None and need > limit - used:
        advice = "enough if this environment is among those in use; else ask for more in Service Quotas"
        return Finding(HOP, "unsure", says, advice)
    return Finding(HOP, "well", says)


def _limit(place: Place, quota: tuple[str, str]) -> float:
    return float(_quota(place, quota)["Value"])


def _quota(place: Place, quota: tuple[str, str]) -> dict[str, Any]:
    service, code = quota
    answer: dict[str, Any] = ask(
        HOP, "servicequotas:GetServiceQuota",
        lambda: place.client("service-quotas").get_service_quota(ServiceCode=service, QuotaCode=code)["Quota"],
        f"Service Quotas knows no {service} {code} in {place.region}",
    )  # fmt: skip
    return answer


def _vcpus(place: Place, need: float, code: tuple[str, str], what: str) -> Finding:
    quota = _quota(place, code)
    return _found(need, float(quota["Value"]), _usage(place, quota.get("UsageMetric")), what)


def _usage(place: Place, metric: dict[str, Any] | None) -> float | None:
    """The latest figure of the metric that Service Quotas names for a quota."""
    if not metric:
        return None
    statistic, now = metric.get("MetricStatisticRecommendation", "Maximum"), datetime.now(UTC)
    points = ask(
        HOP, "cloudwatch:GetMetricStatistics",
        lambda: place.client("cloudwatch").get_metric_statistics(
            Namespace=metric["MetricNamespace"], MetricName=metric["MetricName"],
            Dimensions=[{"Name": name, "Value": value} for name, value in metric["MetricDimensions"].items()],
            StartTime=now - timedelta(minutes=USAGE_MINUTES), EndTime=now, Period=60, Statistics=[statistic],
        )["Datapoints"],
        "",
    )  # fmt: skip
    latest = max(points, key=lambda point: point["Timestamp"], default=None)
    # Of what nobody uses there are no figures.
    return float(latest[statistic]) if latest else 0.0


def _kinesis(place: Place, need: float, limit: str, used: str, what: str) -> Finding:
    limits = ask(HOP, "kinesis:DescribeLimits", place.client("kinesis").describe_limits, "")
    return _found(need, float(limits[limit]), float(limits[used]), what)


def _consumers(place: Place, need: float) -> Finding:
    kinesis = place.client("kinesis")
    says = f"there is no stream {place.stream} yet, so none of its {CONSUMERS} consumers is taken"
    summary = ask(
        HOP, "kinesis:DescribeStreamSummary",
        lambda: kinesis.describe_stream_summary(StreamName=place.stream)["StreamDescriptionSummary"],
        says,
    )  # fmt: skip
    return _found(need, CONSUMERS, float(summary.get("ConsumerCount", 0)), "consumers with fan-out")


def _vpcs(place: Place) -> float:
    pages = place.client("ec2").get_paginator("describe_vpcs")
    return float(ask(HOP, "ec2:DescribeVpcs", lambda: sum(len(page["Vpcs"]) for page in pages.paginate()), ""))


def _addresses(place: Place) -> float:
    answer = ask(HOP, "ec2:DescribeAddresses", place.client("ec2").describe_addresses, "")
    return float(len(answer["Addresses"]))


def _gateways(place: Place) -> float:
    """NAT gateways in the zone that has most of them."""
    ec2 = place.client("ec2")
    pages = ec2.get_paginator("describe_nat_gateways")
    states = [{"Name": "state", "Values": ["pending", "available"]}]
    gateways = ask(
        HOP, "ec2:DescribeNatGateways",
        lambda: [found["SubnetId"] for page in pages.paginate(Filter=states) for found in page["NatGateways"]], "",
    )  # fmt: skip
    if not gateways:
        return 0.0
    subnets = ask(
        HOP, "ec2:DescribeSubnets", lambda: ec2.describe_subnets(SubnetIds=sorted(set(gateways)))["Subnets"], ""
    )
    zones = {subnet["SubnetId"]: subnet["AvailabilityZone"] for subnet in subnets}
    return float(max(Counter(zones[subnet] for subnet in gateways).values()))
