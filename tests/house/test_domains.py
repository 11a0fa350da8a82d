"""A domain's store is its own: other domains ask its service."""

import ast
import re

from tests.house.sources import RUNTIME, python

_DOMAIN = re.compile(r"(?:shared/)?cardwright/(\w+)/")


def stores_of_others(name: str, text: str) -> list[str]:
    """Imports of a store from outside its domain."""
    own = found.group(1) if (found := _DOMAIN.match(name)) else ""
    touched = []
    for node in ast.walk(ast.parse(text)):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for module in modules:
            parts = module.split(".")
            if parts[0] == "cardwright" and "store" in parts[2:] and parts[1] != own:
                touched.append(f"{name} imports {module}")
    return touched


def test_no_domain_touches_the_store_of_another() -> None:
    assert [found for room in RUNTIME for name, text in python(room) for found in stores_of_others(name, text)] == []


def test_the_rule_finds_planted_violations() -> None:
    name = "shared/cardwright/cards/service.py"
    assert stores_of_others(name, "from cardwright.identity import store") == [f"{name} imports cardwright.identity.store"]
    assert stores_of_others(name, "import cardwright.kyc.store.cases") == [f"{name} imports cardwright.kyc.store.cases"]
    assert stores_of_others(name, "from cardwright.cards import store") == []
    door = "functions/cards/freeze_card.py"
    assert stores_of_others(door, "from cardwright.cards import store") == [f"{door} imports cardwright.cards.store"]
