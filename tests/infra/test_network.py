"""The network opens exactly the ways it has to."""

from typing import Any

from cardwright.kernel.rows import Capability
from functions.catalogue import CATALOGUE
from infra import capabilities
from infra.capabilities import Group
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
    assert all("VpcpublicSubnet" in table or "VpcegressSubnet" in table for table in tables)


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
        kind = "egress" if Group.INTERNET in wanted else "app"
        assert all(f"Vpc{kind}Subnet" in canonical(subnet) for subnet in network["SubnetIds"])


def test_only_migrations_reach_the_cluster_itself(templates: Templates) -> None:
    direct = [row.name for row in CATALOGUE if Group.MIGRATIONS in capabilities.groups(row.needs)]
    assert direct == ["migrate_database"]
    into = [rule for group, rule in _ingress(templates) if "Cluster" in group]
    assert len(into) == 2
