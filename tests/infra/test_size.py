"""The design holds at 150 functions, and says so when a domain outgrows its stack."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cardwright.kernel.rows import Http, Row
from functions.cards.routes import FREEZE_CARD
from functions.catalogue import CATALOGUE
from infra import check, packaging
from infra.firewall import over
from infra.functions import ROWS_PER_STACK

WANTED = 150


def _copies(rows: int) -> list[Http]:
    return [replace(FREEZE_CARD, name=f"do_thing_{n}", path=f"/cards/{{card_id}}/things/{n}") for n in range(rows)]


def _grown() -> list[Row]:
    """The catalogue with made-up functions: one domain as full as may be, the rest in the others."""
    domains = sorted({row.domain for row in CATALOGUE})
    there = {domain: len([row for row in CATALOGUE if row.domain == domain]) for domain in domains}
    more = _copies(WANTED - len(CATALOGUE))
    full = ROWS_PER_STACK - there["cards"]
    others = [domain for domain in domains if domain != "cards"]
    placed = [
        row if n < full else replace(row, domain=others[n % len(others)], name=f"do_other_{n}") for n, row in enumerate(more)
    ]
    return [*CATALOGUE, *placed]


def test_150_functions_stay_under_500_resources_a_stack(tmp_path: Path) -> None:
    rows = _grown()
    assert len(rows) == WANTED
    large = replace(FREEZE_CARD, name="do_batch", path="/cards/many", body_limit=2 * 1024 * 1024)
    rows[-1] = replace(large, domain=rows[-1].domain)
    result = check.synthesize(tmp_path / "out", rows, layer=packaging.no_layer(), names=["prod"])
    counts = {name: len(template["Resources"]) for name, template in result.templates.items()}
    assert max(counts.values()) < check.MAX_RESOURCES
    assert check.problems(result) == []
    (acl,) = [
        resource["Properties"]
        for resource in result.templates["cardwright-prod-api"]["Resources"].values()
        if resource["Type"] == "AWS::WAFv2::WebACL"
    ]
    rules = {rule["Name"]: json.dumps(rule["Statement"]) for rule in acl["Rules"]}
    assert '"/api/v1/cards/many"' in rules["body-size"]
    assert over(2 * 1024 * 1024) in json.loads(f"[{rules['body-size-2097152']}]")[0]["RegexMatchStatement"]["RegexString"]
    functions = [
        resource
        for template in result.templates.values()
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Lambda::Alias"
    ]
    assert len(functions) >= WANTED - 1


def test_a_domain_that_outgrows_its_stack_says_so(tmp_path: Path) -> None:
    rows = [*CATALOGUE, *_copies(ROWS_PER_STACK)]
    with pytest.raises(ValueError, match="divide the domain"):
        check.synthesize(tmp_path / "out", rows, layer=packaging.no_layer(), names=["dev"])
