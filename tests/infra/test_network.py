"""The network opens exactly the ways it has to."""

import ipaddress
from typing import Any

import pytest

from cardwright.kernel.rows import Capability
from cardwright.platform.egress import PORTS
from cardwright.webhooks.rules import check_url
from functions.catalogue import CATALOGUE
from infra import capabilities
from infra.capabilities import Group
from infra.network import PRIVATE_RANGES, WEBHOOK_PORTS
from tests.infra.templates import Templates, canonical


def _ingress(templates: Templates) -> list[tuple[str, dict[str, Any]]]:
    rules = [(canonical(found["GroupId"]), found) for found in templates.properties("AWS::EC2::SecurityGroupIngress")]
    for name, group in templates.resources("AWS::EC2::SecurityGroup"):
        logical_id = name.split("/")[1]
        own = canonical({"Fn::GetAtt": [logical_id, "GroupId"]})
        rules += [(own, rule) for rule in group["Properties"].get("SecurityGroupIngress", ())]
    return rules


def test_no_ingress_rule_is_there_twice(templates: Templates) -> None:
    rules = _ingress(templates)
    # A port that is known at deployment only could be the port another rule names as a number.
    assert all(isinstance(rule["FromPort"], int) and isinstance(rule["ToPort"], int) for _, rule in rules)
    seen = [
        (
            group,
            canonical(rule.get("SourceSecurityGroupId") or rule.get("CidrIp")),
            rule["IpProtocol"],
            rule["FromPort"],
            rule["ToPort"],
        )
        for group, rule in rules
    ]
    assert seen
    assert len(set(seen)) == len(seen)


def test_nothing_is_open_to_the_world(templates: Templates) -> None:
    assert all("CidrIp" not in rule and "CidrIpv6" not in rule for _, rule in _ingress(templates))


def test_no_database_is_public(templates: Templates) -> None:
    assert all(found["PubliclyAccessible"] is False for found in templates.properties("AWS::RDS::DBInstance"))
    public = {name.split("/")[1] for name, _ in templates.resources("AWS::EC2::Subnet") if "data" in name}
    (subnets,) = templates.properties("AWS::RDS::DBSubnetGroup")
    assert len(subnets["SubnetIds"]) == templates.stage.zones == len(public)
    assert all("VpcdataSubnet" in canonical(subnet) for subnet in subnets["SubnetIds"])
    (cache,) = templates.properties("AWS::ElastiCache::ServerlessCache")
    assert all("VpcdataSubnet" in canonical(subnet) for subnet in cache["SubnetIds"])


def test_isolated_subnets_have_no_way_out(templates: Templates) -> None:
    ways = [found for found in templates.properties("AWS::EC2::Route") if found.get("DestinationCidrBlock") == "0.0.0.0/0"]
    assert ways
    tables = [canonical(way["RouteTableId"]) for way in ways]
    assert all(any(f"Vpc{kind}Subnet" in table for kind in ("public", "egress", "outbound")) for table in tables)


def test_every_capability_says_where_its_calls_go() -> None:
    assert set(capabilities.REACH) == set(Capability)


def test_every_capability_has_its_endpoint(templates: Templates) -> None:
    names = {str(found["ServiceName"]).rsplit(".", maxsplit=1)[1] for found in templates.properties("AWS::EC2::VPCEndpoint")}
    wanted = {str(service) for reach in capabilities.REACH.values() for service in reach.services}
    assert wanted <= names
    assert all(found["PrivateDnsEnabled"] for found in templates.properties("AWS::EC2::VPCEndpoint"))


def test_endpoints_serve_this_account_only(templates: Templates) -> None:
    for found in templates.properties("AWS::EC2::VPCEndpoint"):
        for statement in found["PolicyDocument"]["Statement"]:
            assert statement["Condition"] == {"StringEquals": {"aws:PrincipalAccount": templates.stage.account}}


def test_functions_carry_the_groups_of_their_needs_and_no_others(templates: Templates) -> None:
    functions = templates.functions()
    for row in CATALOGUE:
        if row.name not in functions:
            continue
        network = functions[row.name].get("VpcConfig", {"SecurityGroupIds": [], "SubnetIds": []})
        wanted = capabilities.groups(row.needs)
        assert len(network["SecurityGroupIds"]) == len(wanted)
        for group in wanted:
            assert any(f"Function{group.capitalize()}" in canonical(carried) for carried in network["SecurityGroupIds"])
        kind = "outbound" if Group.OUTBOUND in wanted else "egress" if Group.INTERNET in wanted else "app"
        assert all(f"Vpc{kind}Subnet" in canonical(subnet) for subnet in network["SubnetIds"])


def test_only_migrations_reach_the_cluster_itself(templates: Templates) -> None:
    direct = [row.name for row in CATALOGUE if Group.MIGRATIONS in capabilities.groups(row.needs)]
    assert direct == ["migrate_database"]
    into = [rule for group, rule in _ingress(templates) if "Cluster" in group]
    assert len(into) == 2


def _outbound(templates: Templates) -> list[str]:
    """Logical ids of the subnets from which strangers are posted to."""
    return [
        name.split("/")[1]
        for name, found in templates.resources("AWS::EC2::Subnet")
        if any(tag == {"Key": "aws-cdk:subnet-name", "Value": "outbound"} for tag in found["Properties"]["Tags"])
    ]


def _entries(templates: Templates, *, outward: bool) -> list[dict[str, Any]]:
    """Entries of the outbound subnets' list one way, in the order in which they are judged."""
    entries = [found for found in templates.properties("AWS::EC2::NetworkAclEntry") if found.get("Egress", False) is outward]
    return sorted(entries, key=lambda found: int(found["RuleNumber"]))


def _judged(entries: list[dict[str, Any]], far_end: str, port: int) -> str:
    """What a network ACL does with a packet: the first entry that fits, and refusal when none does."""
    for entry in entries:
        ports = entry.get("PortRange", {"From": 0, "To": 65535})
        fits = entry["Protocol"] == -1 or (entry["Protocol"] == 6 and ports["From"] <= port <= ports["To"])
        if fits and ipaddress.ip_address(far_end) in ipaddress.ip_network(entry["CidrBlock"]):
            return str(entry["RuleAction"])
    return "deny"


def test_who_posts_to_strangers_stands_in_subnets_of_its_own(templates: Templates) -> None:
    outbound = _outbound(templates)
    assert len(outbound) == templates.stage.zones
    standing = [
        name
        for name, found in templates.functions().items()
        if any(subnet in canonical(found.get("VpcConfig", {}).get("SubnetIds", [])) for subnet in outbound)
    ]
    assert standing == ["send_webhook"]
    # Nothing else has an interface there: no database, no cache, no endpoint whose address would be a way in.
    for kind in ("AWS::RDS::DBSubnetGroup", "AWS::RDS::DBProxy", "AWS::ElastiCache::ServerlessCache", "AWS::EC2::VPCEndpoint"):
        found = templates.properties(kind)
        assert found
        assert not any(subnet in canonical(found) for subnet in outbound)


def test_the_ranges_of_older_subnets_do_not_move(templates: Templates) -> None:
    ranges = {
        name: ipaddress.IPv4Network(found["Properties"]["CidrBlock"]) for name, found in templates.resources("AWS::EC2::Subnet")
    }
    outbound = [found for name, found in ranges.items() if name.split("/")[1] in _outbound(templates)]
    others = [found for name, found in ranges.items() if name.split("/")[1] not in _outbound(templates)]
    assert min(outbound) > max(others)


@pytest.mark.parametrize("port", [443, 5432, 6379, 6380, 8443, 53])
def test_no_packet_of_the_sender_comes_to_another_subnet_or_back(templates: Templates, port: int) -> None:
    outward, inward = _entries(templates, outward=True), _entries(templates, outward=False)
    for found in templates.properties("AWS::EC2::Subnet"):
        inside = str(ipaddress.ip_network(found["CidrBlock"])[10])
        assert _judged(outward, inside, port) == "deny"
        assert _judged(inward, inside, port) == "deny"
        assert _judged(inward, inside, 40000) == "deny"
    for private in PRIVATE_RANGES:
        assert _judged(outward, str(ipaddress.ip_network(private)[1]), port) == "deny"
    assert _judged(outward, "8.8.8.8", port) == ("allow" if port in WEBHOOK_PORTS else "deny")
    assert _judged(inward, "8.8.8.8", 40000) == "allow"
    assert _judged(inward, "8.8.8.8", port if port < 1024 else 22) == "deny"


def test_every_outbound_subnet_has_that_list_and_no_other_subnet_has(templates: Templates) -> None:
    (acl,) = [name.split("/")[1] for name, _ in templates.resources("AWS::EC2::NetworkAcl")]
    assert all(acl in canonical(found["NetworkAclId"]) for found in templates.properties("AWS::EC2::NetworkAclEntry"))
    bound = [canonical(found["SubnetId"]) for found in templates.properties("AWS::EC2::SubnetNetworkAclAssociation")]
    assert sorted(bound) == sorted(canonical({"Ref": subnet}) for subnet in _outbound(templates))


def test_routes_of_the_sender_lead_to_the_internet_alone(templates: Templates) -> None:
    routes = [found for found in templates.properties("AWS::EC2::Route") if "outbound" in canonical(found["RouteTableId"])]
    assert len(routes) == templates.stage.zones
    assert all(found["DestinationCidrBlock"] == "0.0.0.0/0" and "NatGatewayId" in found for found in routes)
    assert not templates.properties("AWS::EC2::VPCPeeringConnection")


def test_the_senders_security_group_opens_receivers_ports_and_is_let_in_nowhere(templates: Templates) -> None:
    ((name, group),) = [
        (name.split("/")[1], found["Properties"])
        for name, found in templates.resources("AWS::EC2::SecurityGroup")
        if "FunctionOutbound" in name
    ]
    opened = {(rule["CidrIp"], rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) for rule in group["SecurityGroupEgress"]}
    assert opened == {("0.0.0.0/0", "tcp", port, port) for port in WEBHOOK_PORTS}
    assert "SecurityGroupIngress" not in group
    assert not any(name in canonical(found) for found in templates.properties("AWS::EC2::SecurityGroupEgress"))
    assert not any(name in canonical(rule.get("SourceSecurityGroupId")) for _, rule in _ingress(templates))


def test_rules_sender_and_network_know_the_same_ports() -> None:
    named = {port for port in range(1, 65536) if check_url(f"https://hooks.example.com:{port}/", local=False) is None}
    assert named == set(PORTS) == set(WEBHOOK_PORTS)


def test_who_posts_to_strangers_may_ask_for_nothing_else() -> None:
    for capability in Capability:
        if capabilities.REACH[capability].groups and capability is not Capability.INTERNET:
            with pytest.raises(ValueError, match="reaches nothing else"):
                capabilities.groups({Capability.INTERNET, capability})
