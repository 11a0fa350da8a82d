"""The firewall refuses what is too large or too often, and nothing the API has to take."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardwright.kernel.rows import Audience, Http, Url
from functions.catalogue import CATALOGUE
from infra.firewall import COUNT_ONLY, over
from infra.rest import routed
from tests.infra.templates import Templates, canonical


@given(limit=st.integers(min_value=1, max_value=10**9), number=st.integers(min_value=0, max_value=10**11))
def test_expression_matches_exactly_the_numbers_over_a_limit(limit: int, number: int) -> None:
    assert bool(re.fullmatch(over(limit), str(number))) == (number > limit)


@pytest.mark.parametrize("limit", [1, 9, 8_192, 65_536, 256 * 1024, 999_999, 2 * 1024 * 1024])
def test_expression_holds_at_the_limit(limit: int) -> None:
    expression = re.compile(over(limit))
    assert not expression.fullmatch(str(limit))
    assert expression.fullmatch(str(limit + 1))
    assert expression.fullmatch(f"000{limit + 1}")
    assert len(over(limit)) <= 512


def _rules(templates: Templates) -> dict[str, dict[str, Any]]:
    (acl,) = templates.properties("AWS::WAFv2::WebACL")
    return {rule["Name"]: rule for rule in acl["Rules"]}


def test_bodies_over_8_kb_live(templates: Templates) -> None:
    group = _rules(templates)["common"]["Statement"]["ManagedRuleGroupStatement"]
    counted = {override["Name"] for override in group["RuleActionOverrides"] if override["ActionToUse"] == {"Count": {}}}
    assert "SizeRestrictions_BODY" in counted
    assert counted == set(COUNT_ONLY)


def test_our_size_rule_refuses_what_is_over_the_rows_limit_only(templates: Templates) -> None:
    limits = {row.body_limit for row in routed(CATALOGUE)}
    rules = {name: rule for name, rule in _rules(templates).items() if name.startswith("body-size")}
    assert len(rules) == len(limits)
    text = canonical(rules["body-size"]["Statement"])
    assert '"content-length"' in text
    assert json.dumps(over(min(limits))) in text
    for row in routed(CATALOGUE):
        if row.body_limit > min(limits):
            assert row.full_path in text
    assert all(rule["Action"]["Block"]["CustomResponse"]["ResponseCode"] == 413 for rule in rules.values())


def test_the_rate_rule_leaves_signed_traffic_alone(templates: Templates) -> None:
    statement = _rules(templates)["rate"]["Statement"]["RateBasedStatement"]
    assert statement["Limit"] == templates.stage.requests_per_minute_and_address
    exempt = canonical(statement["ScopeDownStatement"])
    machines = [row for row in routed(CATALOGUE) if isinstance(row, Url) or row.audience is Audience.SIGNED]
    assert machines
    assert all(f'"{row.full_path}"' in exempt for row in machines)
    people = [row for row in routed(CATALOGUE) if isinstance(row, Http) and row.audience is Audience.USER]
    assert all(f'"{row.full_path}"' not in exempt for row in people)


def test_refusals_are_problems(templates: Templates) -> None:
    (acl,) = templates.properties("AWS::WAFv2::WebACL")
    bodies = acl["CustomResponseBodies"]
    for rule in acl["Rules"]:
        answer = rule.get("Action", {}).get("Block", {}).get("CustomResponse")
        if answer is None:
            continue
        problem = json.loads(bodies[answer["CustomResponseBodyKey"]]["Content"])
        assert problem["status"] == answer["ResponseCode"]
        assert problem["code"] in ("payload_too_large", "rate_limited")
        # WAF refuses the header at deployment.
        assert all(header["Name"].lower() != "content-type" for header in answer.get("ResponseHeaders", ()))


def test_the_firewall_stands_before_the_stage_and_logs_no_credentials(templates: Templates) -> None:
    (association,) = templates.properties("AWS::WAFv2::WebACLAssociation")
    assert "/stages/live" in canonical(association["ResourceArn"])
    (logging,) = templates.properties("AWS::WAFv2::LoggingConfiguration")
    hidden = canonical(logging["RedactedFields"])
    assert all(name in hidden for name in ("authorization", "webhook-signature", "QueryString"))
    (acl,) = templates.properties("AWS::WAFv2::WebACL")
    protected = {field["Field"]["FieldType"] for field in acl["DataProtectionConfig"]["DataProtections"]}
    assert protected == {"SINGLE_HEADER", "QUERY_STRING", "BODY"}
