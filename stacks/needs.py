"""What an environment takes of an account's quotas at its largest; `doctor` compares it with what there is."""

from __future__ import annotations

from typing import Final

from stacks.config import Config

CPU_UNITS_OF_A_VCPU: Final = 1024
# A deployment brings up new tasks beside the old ones.
DEPLOYING: Final = 2


def needs(config: Config) -> dict[str, float | str]:
    """The needs, by the names that `doctor.quotas.Needs` has."""
    stream, network, service = config.stream, config.network, config.service
    gateways = {"nat": 1, "nat-per-zone": network.zones, "endpoints": 0}[network.egress]
    on_demand = stream.mode == "ON_DEMAND"
    tasks = config.max_tasks
    regular = min(service.on_demand_base, tasks) if service.spot else tasks
    vcpus = DEPLOYING * service.cpu / CPU_UNITS_OF_A_VCPU
    return {
        "region": config.region,
        "vcpus": regular * vcpus,
        "spot_vcpus": (tasks - regular) * vcpus,
        "shards": 0 if on_demand else stream.shards,
        "streams": int(on_demand),
        "consumers": int(service.retrieval_mode == "FANOUT"),
        "vpcs": 1,
        "addresses": gateways,
        "gateways_in_zone": min(gateways, 1),
    }
