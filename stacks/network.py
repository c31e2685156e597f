"""The VPC: private subnets for the tasks, their ways to AWS, and public subnets for what has a public address."""

from __future__ import annotations

from cdktf import TerraformStack
from cdktf_cdktf_provider_aws.data_aws_availability_zones import (
    DataAwsAvailabilityZones,
    DataAwsAvailabilityZonesFilter,
)
from cdktf_cdktf_provider_aws.default_security_group import DefaultSecurityGroup
from cdktf_cdktf_provider_aws.eip import Eip
from cdktf_cdktf_provider_aws.internet_gateway import InternetGateway
from cdktf_cdktf_provider_aws.nat_gateway import NatGateway
from cdktf_cdktf_provider_aws.route import Route
from cdktf_cdktf_provider_aws.route_table import RouteTable
from cdktf_cdktf_provider_aws.route_table_association import RouteTableAssociation
from cdktf_cdktf_provider_aws.security_group import SecurityGroup
from cdktf_cdktf_provider_aws.subnet import Subnet
from cdktf_cdktf_provider_aws.vpc import Vpc
from cdktf_cdktf_provider_aws.vpc_endpoint import VpcEndpoint
from cdktf_cdktf_provider_aws.vpc_security_group_egress_rule import VpcSecurityGroupEgressRule
from cdktf_cdktf_provider_aws.vpc_security_group_ingress_rule import VpcSecurityGroupIngressRule

from stacks.config import Config
from stacks.endpoints import GATEWAYS, interfaces
from stacks.names import Names

ANYWHERE = "0.0.0.0/0"
WORKER_PORT = 8080


class Network:
    """Subnets over several zones, and the security groups of load balancer and tasks.

    Attributes:
        public, private: Ids of the subnets; there are public ones where something has a public address.
        balancer_group, task_group: Ids of the security groups.
        gateway: To the internet; what has a public address needs it first. None without public subnets.
    """

    gateway: InternetGateway | None = None
    balancer_group: str = ""

    def __init__(self, stack: TerraformStack, config: Config) -> None:
        self._stack, self._config = stack, config
        network = config.network
        self.vpc = Vpc(
            stack,
            "vpc",
            cidr_block=network.cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags={"Name": Names(config).own()},
        )
        DefaultSecurityGroup(stack, "default-group", vpc_id=self.vpc.id)  # no rules, so that nothing can use it
        # Local Zones have neither NAT gateways nor the services' endpoints.
        real = DataAwsAvailabilityZonesFilter(name="zone-type", values=["availability-zone"])
        zones = DataAwsAvailabilityZones(stack, "zones", state="available", filter=[real])
        outward = self._way_in() if config.service.balancer or network.egress != "endpoints" else None
        blocks = network.subnets()
        self.public: list[str] = []
        self.private: list[str] = []
        self._private_routes: list[RouteTable] = []
        for number in range(network.zones):
            # By index: `element` would begin again at the first where a region has fewer.
            zone = f"${{data.aws_availability_zones.{zones.friendly_unique_id}.names[{number}]}}"
            if outward:
                self.public.append(self._subnet(f"public-{number}", blocks[number], zone, outward).id)
            inward = RouteTable(stack, f"private-routes-{number}", vpc_id=self.vpc.id)
            self._private_routes.append(inward)
            self.private.append(self._subnet(f"private-{number}", blocks[network.zones + number], zone, inward).id)
        self._groups()
        self._endpoints()
        if network.egress != "endpoints":
            self._translate()

    def _way_in(self) -> RouteTable:
        """The routes of public subnets."""
        self.gateway = InternetGateway(self._stack, "internet-gateway", vpc_id=self.vpc.id)
        routes = RouteTable(self._stack, "public-routes", vpc_id=self.vpc.id)
        Route(
            self._stack,
            "public-default",
            route_table_id=routes.id,
            destination_cidr_block=ANYWHERE,
            gateway_id=self.gateway.id,
        )
        return routes

    def _subnet(self, id_: str, block: str, zone: str, routes: RouteTable) -> Subnet:
        subnet = Subnet(
            self._stack,
            id_,
            vpc_id=self.vpc.id,
            cidr_block=block,
            availability_zone=zone,
            tags={"Name": Names(self._config).own(id_)},
        )
        RouteTableAssociation(self._stack, f"{id_}-routes", subnet_id=subnet.id, route_table_id=routes.id)
        return subnet

    def _endpoints(self) -> None:
        """Ways to services that pass by the internet, and by what address translation costs."""
        for service in GATEWAYS:
            self._endpoint(service, kind="Gateway", route_table_ids=[table.id for table in self._private_routes])
        services = interfaces(self._config)
        if not services:
            return
        group = self._group("endpoints", "the services' endpoints")
        self._ingress("endpoints-from-tasks", group, 443, "tasks", group_id=self.task_group)
        for service in services:
            self._endpoint(
                service,
                kind="Interface",
                # Each zone is paid for. All zones reach one of them, at no charge for what passes between zones; it
                # fails with the zone of the only gateway, beside which it lies.
                # https://aws.amazon.com/about-aws/whats-new/2022/04/aws-data-transfer-price-reduction-privatelink-transit-gateway-client-vpn-services/
                subnet_ids=self.private[:1] if self._config.network.egress == "nat" else self.private,
                security_group_ids=[group],
                private_dns_enabled=True,
            )

    def _translate(self) -> None:
        """Gateways through which private subnets reach the internet: one, or one in each zone."""
        stack = self._stack
        gateways = []
        for number in range(len(self.private) if self._config.network.egress == "nat-per-zone" else 1):
            address = Eip(stack, f"nat-address-{number}", domain="vpc")
            gateways.append(
                NatGateway(
                    stack,
                    f"nat-{number}",
                    allocation_id=address.id,
                    subnet_id=self.public[number],
                    depends_on=[self.gateway] if self.gateway else None,
                )
            )
        for number, table in enumerate(self._private_routes):
            Route(
                stack,
                f"private-default-{number}",
                route_table_id=table.id,
                destination_cidr_block=ANYWHERE,
                nat_gateway_id=gateways[number % len(gateways)].id,
            )

    def _endpoint(self, service: str, *, kind: str, **arguments: object) -> None:
        VpcEndpoint(
            self._stack,
            f"endpoint-{service.replace('.', '-')}",
            vpc_id=self.vpc.id,
            service_name=f"com.amazonaws.{self._config.region}.{service}",
            vpc_endpoint_type=kind,
            **arguments,  # type: ignore[arg-type]
        )

    def _groups(self) -> None:
        self.task_group = self._group("tasks", "the worker's tasks")
        self._egress("tasks-to-services", self.task_group, 443, "AWS, over TLS", cidr=ANYWHERE)
        if not self._config.service.balancer:
            return
        self.balancer_group = self._group("balancer", "the load balancer")
        self._ingress("balancer-from-anywhere", self.balancer_group, 80, "anyone, for /health", cidr=ANYWHERE)
        if self._config.network.certificate_arn:
            self._ingress("balancer-tls", self.balancer_group, 443, "anyone, for /health", cidr=ANYWHERE)
        self._ingress(
            "tasks-from-balancer", self.task_group, WORKER_PORT, "the load balancer", group_id=self.balancer_group
        )
        self._egress("balancer-to-tasks", self.balancer_group, WORKER_PORT, "the tasks", group_id=self.task_group)

    def _group(self, id_: str, what: str) -> str:
        group = SecurityGroup(
            self._stack,
            f"{id_}-group",
            name=Names(self._config).own(id_),
            description=what,
            vpc_id=self.vpc.id,
        )
        return str(group.id)

    def _ingress(
        self, id_: str, group: str, port: int, who: str, *, cidr: str | None = None, group_id: str | None = None
    ) -> None:
        VpcSecurityGroupIngressRule(
            self._stack, id_, security_group_id=group, ip_protocol="tcp", from_port=port, to_port=port,
            description=f"from {who}", cidr_ipv4=cidr, referenced_security_group_id=group_id,
        )  # fmt: skip

    def _egress(
        self, id_: str, group: str, port: int, who: str, *, cidr: str | None = None, group_id: str | None = None
    ) -> None:
        VpcSecurityGroupEgressRule(
            self._stack, id_, security_group_id=group, ip_protocol="tcp", from_port=port, to_port=port,
            description=f"to {who}", cidr_ipv4=cidr, referenced_security_group_id=group_id,
        )  # fmt: skip
