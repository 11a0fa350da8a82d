"""The catalogue is the truth: every row has its module, every module its row, and FastAPI, variables and documents agree."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute

from cardwright.kernel import environment
from cardwright.kernel.rows import API_PREFIX, Audience, Capability, Http, Idempotency, Row, Schedule, Url
from functions import openapi
from functions.catalogue import CATALOGUE
from tests.house.sources import ROOT, constants, python

# Modules of functions/<domain>/ that are no endpoints.
NO_ENDPOINTS = {"__init__", "routes", "shapes"}
HTTP = [row for row in CATALOGUE if isinstance(row, Http)]


def modules(root: Path) -> set[str]:
    """Import paths of the endpoint modules below functions/."""
    found = root.glob("functions/*/*.py")
    return {f"functions.{path.parent.name}.{path.stem}" for path in found if path.stem not in NO_ENDPOINTS}


def served(app: Any) -> set[tuple[str, str]]:
    """Method and path of each of an application's own routes, preflight aside."""
    return {
        (method, route.path)
        for route in app.routes
        for method in (getattr(route, "methods", None) or set())
        if method != "OPTIONS"
    }


def id_of(row: Row) -> str:
    """Name a row in a test's id."""
    return row.name


def test_every_row_has_a_module_and_every_module_a_row(tmp_path: Path) -> None:
    assert modules(ROOT) == {row.module for row in CATALOGUE}
    planted = tmp_path / "functions" / "cards" / "forgotten.py"
    planted.parent.mkdir(parents=True)
    planted.write_text("")
    assert modules(tmp_path) == {"functions.cards.forgotten"}


def test_names_and_paths_are_each_used_once() -> None:
    names = [row.name for row in CATALOGUE]
    doors = [(row.method, row.full_path) for row in HTTP] + [("POST", row.full_path) for row in CATALOGUE if isinstance(row, Url)]
    assert len(names) == len(set(names))
    assert len(doors) == len(set(doors))


@pytest.mark.parametrize("row", CATALOGUE, ids=id_of)
def test_a_row_has_a_handler_and_a_summary(row: Row) -> None:
    assert callable(importlib.import_module(row.module).handler)
    assert row.summary.endswith(".")
    assert re.fullmatch(r"[a-z][a-z0-9_]*", row.name)


@pytest.mark.parametrize("row", HTTP, ids=id_of)
def test_fastapi_serves_the_row_and_nothing_else(row: Http) -> None:
    endpoint = importlib.import_module(row.module).endpoint
    assert endpoint.row is row
    assert served(endpoint.app) - {("HEAD", row.full_path)} == {(row.method, row.full_path)}
    (route,) = [route for route in endpoint.app.routes if isinstance(route, APIRoute)]
    assert route.operation_id == row.name
    assert set(route.param_convertors) == set(re.findall(r"{(\w+)}", row.path))


@pytest.mark.parametrize("row", HTTP, ids=id_of)
def test_a_row_is_as_the_contract_wants_it(row: Http) -> None:
    assert row.method in {"GET", "POST", "PUT", "PATCH", "DELETE"}
    if row.method == "GET":
        assert row.idempotency is Idempotency.IGNORED
    elif row.audience is Audience.USER and not row.path.startswith("/auth/") and not row.path.endswith("/reveal"):
        assert row.idempotency is not Idempotency.IGNORED
    if row.audience is Audience.USER:
        assert {Capability.DATABASE_APP, Capability.CACHE, Capability.SIGNING_PUBLIC_KEY} <= row.needs or (
            Capability.SIGNING_KEY in row.needs
        )
    if row.step_up:
        assert row.audience is Audience.USER


def test_every_capability_names_its_variables_and_compose_reads_no_other() -> None:
    assert set(environment.VARIABLES) == set(Capability)
    known = {name for names in environment.VARIABLES.values() for name in names}
    known |= {*environment.ALWAYS, environment.CLOCK_FILE, environment.OTHER_URLS}
    read = {
        value
        for _, text in python("shared/cardwright/compose", "functions")
        for _, value in constants(text)
        if re.fullmatch(r"CARDWRIGHT_[A-Z_]+", value)
    }
    assert read <= known
    asked = {capability for row in CATALOGUE for capability in row.needs}
    wanted = {name for capability in asked for name in environment.VARIABLES[capability]}
    assert wanted <= known


def test_schedules_are_not_finer_than_eventbridge_can_be() -> None:
    schedules = [row for row in CATALOGUE if isinstance(row, Schedule)]
    assert schedules
    assert all(row.every_s >= 60 and row.every_s % 60 == 0 for row in schedules)


def test_the_committed_openapi_is_the_generated_one() -> None:
    made = openapi.rendered()
    assert {version: openapi.FILES[version].read_text() for version in made} == made


def test_paths_outside_the_prefix_are_the_known_ones() -> None:
    roots = {row.full_path for row in HTTP if row.root}
    assert all(row.full_path.startswith(API_PREFIX + "/") for row in HTTP if not row.root)
    assert roots <= {"/healthz", "/readyz", "/metrics", "/docs", "/.well-known/jwks.json", "/.well-known/openid-configuration"}
