"""Fixtures of the outside world: queues under contract and the simulators, each started once for a module of tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local.outside_world import World, all_parties
from tests.local.programs import aws_client, program
from tests.local.queue_host import MOTO_DIFFERS, Host


@pytest.fixture(scope="module", params=["moto", "twin"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    data = tmp_path_factory.mktemp(f"aws-{request.param}")
    with program("local.aws", "--data", str(data), "--sqs", request.param) as running:
        yield Host(request.param, running, aws_client("sqs", running.url))


@pytest.fixture
def host(served: Host, request: pytest.FixtureRequest) -> Host:
    reason = MOTO_DIFFERS.get(getattr(request.node, "originalname", ""))
    if served.kind == "moto" and reason is not None:
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    return served


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[Host]:
    with program("local.aws", "--data", str(tmp_path)) as running:
        yield Host("twin", running, aws_client("sqs", running.url))


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with all_parties(tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture
def world(outside: World) -> Iterator[World]:
    outside.http.delete(f"{outside.processor.url}/faults")
    outside.http.delete(f"{outside.messages.url}/messages")
    outside.issuer.requests.clear()
    outside.issuer.answer = lambda _body: (200, b'{"decision": "APPROVE", "final": true, "reason": "approved"}')
    yield outside
    outside.http.delete(f"{outside.processor.url}/faults")


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)
