"""The network: five kinds of subnets, security groups that open one way each, and endpoints of the services functions call."""

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.acknowledgements import Acknowledged, acknowledge
from infra.capabilities import Group, Service
from infra.naming import pascal
from infra.stages import Stage

POSTGRES = 5432
# A serverless cache answers writes on the first port and reads from replicas on the second.
VALKEY = (6379, 6380)
HTTPS = 443
# Where subscribers may receive webhooks: as cardwright.webhooks.rules and cardwright.platform.egress take them.
WEBHOOK_PORTS = (443, 8443)
RANGE = "10.20.0.0/16"
# Whatever this network is ever joined to (peers, transit gateways, on-premises lines) has addresses of these ranges.
PRIVATE_RANGES = ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
_ANSWERS = (1024, 65535)

_SERVICES = {
    Service.KMS: ec2.InterfaceVpcEndpointAwsService.KMS,
    Service.SECRETS: ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
    Service.QUEUES: ec2.InterfaceVpcEndpointAwsService.SQS,
    Service.OBJECTS: ec2.InterfaceVpcEndpointAwsService.S3,
    Service.FUNCTIONS: ec2.InterfaceVpcEndpointAwsService.LAMBDA_,
}

_RESOLVERS = {Service.OBJECTS: ec2.VpcEndpointPrivateDnsOnlyForInboundResolverEndpoint.ALL_RESOLVERS}


class NetworkStack(cdk.Stack):
    """Subnets: public (NAT only), egress (functions that call outside), app (no way out), data (databases, no way out),
    outbound (who posts to strangers' URLs: the Internet, and no way to the other subnets)."""

    def __init__(self, scope: Construct, stage: Stage, env: cdk.Environment, storage_key: kms.IKey) -> None:
        super().__init__(
            scope,
            f"{stage.prefix}-network",
            env=env,
            termination_protection=stage.termination_protection,
            description="Network, security groups, service endpoints",
        )
        self._stage = stage
        # The construct compares given zones with the account's, and would ask the account for them.
        zones = f"availability-zones:account={stage.account}:region={stage.region}"
        self.node.set_context(zones, stage.availability_zones)
        self.vpc = self._vpc()
        self.app_subnets = self.vpc.select_subnets(subnet_group_name="app")
        self.egress_subnets = self.vpc.select_subnets(subnet_group_name="egress")
        self.outbound_subnets = self.vpc.select_subnets(subnet_group_name="outbound")
        self.data_subnets = self.vpc.select_subnets(subnet_group_name="data")
        self.groups = {group: self._group(f"Function{pascal(group)}", f"Functions: {group}") for group in Group}
        self.proxy_group = self._group("Proxy", "RDS Proxy")
        self.cluster_group = self._group("Cluster", "Aurora cluster")
        self.cache_group = self._group("Cache", "Cache")
        self._endpoint_group = self._group("Endpoints", "Service endpoints")
        self._open_ways()
        self._shut_in()
        self._endpoints()
        self._flow_logs(storage_key)

    def _vpc(self) -> ec2.Vpc:
        def subnets(name: str, kind: ec2.SubnetType, mask: int) -> ec2.SubnetConfiguration:
            return ec2.SubnetConfiguration(name=name, subnet_type=kind, cidr_mask=mask)

        return ec2.Vpc(
            self,
            "Vpc",
            vpc_name=self._stage.prefix,
            ip_addresses=ec2.IpAddresses.cidr(RANGE),
            availability_zones=self._stage.availability_zones,
            nat_gateways=self._stage.nat_gateways,
            restrict_default_security_group=True,
            subnet_configuration=[
                subnets("public", ec2.SubnetType.PUBLIC, 26),
                subnets("egress", ec2.SubnetType.PRIVATE_WITH_EGRESS, 22),
                subnets("app", ec2.SubnetType.PRIVATE_ISOLATED, 22),
                subnets("data", ec2.SubnetType.PRIVATE_ISOLATED, 25),
                # Last, so that the ranges of the others stay as they were deployed.
                subnets("outbound", ec2.SubnetType.PRIVATE_WITH_EGRESS, 24),
            ],
        )

    def _group(self, name: str, description: str) -> ec2.SecurityGroup:
        return ec2.SecurityGroup(self, name, vpc=self.vpc, description=description, allow_all_outbound=False)

    def _open_ways(self) -> None:
        """Every rule there is. Nothing else may add one: a second rule for the same way is refused by EC2 at deployment only."""
        postgres, https = ec2.Port.tcp(POSTGRES), ec2.Port.tcp(HTTPS)
        self.groups[Group.DATABASE].connections.allow_to(self.proxy_group, postgres, "functions to the proxy")
        self.groups[Group.MIGRATIONS].connections.allow_to(self.cluster_group, postgres, "migrations to the cluster")
        self.proxy_group.connections.allow_to(self.cluster_group, postgres, "the proxy to the cluster")
        for port in VALKEY:
            self.groups[Group.CACHE].connections.allow_to(self.cache_group, ec2.Port.tcp(port), "functions to the cache")
        self.groups[Group.ENDPOINTS].connections.allow_to(self._endpoint_group, https, "functions to AWS services")
        self.groups[Group.INTERNET].add_egress_rule(ec2.Peer.any_ipv4(), https, "outside parties, by HTTPS only")
        for port in WEBHOOK_PORTS:
            self.groups[Group.OUTBOUND].add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(port), "receivers of webhooks")

    def _shut_in(self) -> None:
        """What stands in `outbound` speaks with the Internet on the receivers' ports, and with no private address at all.

        A network ACL judges by the far end's address and keeps no state: answers need a rule of their own. Names are still
        resolved: what goes to the network's own resolver passes no ACL.
        """
        acl = ec2.NetworkAcl(self, "OutboundAcl", vpc=self.vpc, subnet_selection=_these(self.outbound_subnets))
        inward, outward = ec2.TrafficDirection.INGRESS, ec2.TrafficDirection.EGRESS
        number = 100
        for private in PRIVATE_RANGES:
            for way in (inward, outward):
                self._entry(acl, number, way, ec2.AclTraffic.all_traffic(), ec2.Action.DENY, private)
            number += 10
        for port in WEBHOOK_PORTS:
            self._entry(acl, number, outward, ec2.AclTraffic.tcp_port(port), ec2.Action.ALLOW)
            number += 10
        self._entry(acl, number, inward, ec2.AclTraffic.tcp_port_range(*_ANSWERS), ec2.Action.ALLOW)
        reason = "Its first rules deny every private range: it only narrows what the security group opens."
        acknowledge(acl, [Acknowledged("VPC3", reason)])

    @staticmethod
    def _entry(
        acl: ec2.NetworkAcl,
        number: int,
        way: ec2.TrafficDirection,
        traffic: ec2.AclTraffic,
        action: ec2.Action,
        far_end: str | None = None,
    ) -> None:
        acl.add_entry(
            f"{pascal(way.name)}{number}",
            rule_number=number,
            direction=way,
            traffic=traffic,
            rule_action=action,
            cidr=ec2.AclCidr.ipv4(far_end) if far_end else ec2.AclCidr.any_ipv4(),
        )

    def _endpoints(self) -> None:
        """Functions reach AWS without leaving the network, and only this account's principals pass."""
        for service, aws_service in _SERVICES.items():
            endpoint = self.vpc.add_interface_endpoint(
                f"{pascal(service)}Endpoint",
                service=aws_service,
                subnets=ec2.SubnetSelection(subnets=self.app_subnets.subnets),
                security_groups=[self._endpoint_group],
                private_dns_enabled=True,
                # S3 alone asks: by itself it would answer to its own name only beside a gateway endpoint, which there is not.
                private_dns_only_for_inbound_resolver_endpoint=_RESOLVERS.get(service),
                open=False,
            )
            endpoint.add_to_policy(
                iam.PolicyStatement(
                    principals=[iam.AnyPrincipal()],
                    actions=[f"{service}:*"],
                    resources=["*"],
                    conditions={"StringEquals": {"aws:PrincipalAccount": self._stage.account}},
                )
            )

    def _flow_logs(self, storage_key: kms.IKey) -> None:
        group = logs.LogGroup(
            self,
            "FlowLogs",
            log_group_name=f"/{self._stage.prefix}/network",
            encryption_key=storage_key,
            retention=retention(self._stage.log_days),
            removal_policy=cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
        )
        self.vpc.add_flow_log("FlowLog", destination=ec2.FlowLogDestination.to_cloud_watch_logs(group))


def _these(selected: ec2.SelectedSubnets) -> ec2.SubnetSelection:
    return ec2.SubnetSelection(subnets=selected.subnets)


def retention(days: int) -> logs.RetentionDays:
    """CloudWatch's name for so many days. Raises ValueError for a number CloudWatch does not offer."""
    offered = {
        30: logs.RetentionDays.ONE_MONTH,
        90: logs.RetentionDays.THREE_MONTHS,
        365: logs.RetentionDays.ONE_YEAR,
        400: logs.RetentionDays.THIRTEEN_MONTHS,
    }
    if days not in offered:
        raise ValueError(f"logs are kept for {sorted(offered)} days, not {days}")
    return offered[days]
