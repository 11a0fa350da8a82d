"""Provisioned concurrency: the authorization function connects while it is started, and starts whatever is missing."""

from collections.abc import Iterator

import pytest

from cardwright.compose import authorization, resources, settings
from cardwright.platform.cache import Cache
from cardwright.platform.postgres import Database
from functions.authorizations.routes import AUTHORIZE_TRANSACTION
from tests.fakes.secrets_extension import Extension, serving_secrets
from tests.fakes.tcp import closed_port, listening

NEEDS = AUTHORIZE_TRANSACTION.needs


def _nothing_composed() -> None:
    for cached in (settings.settings, resources.clock, resources.ids, resources.secrets, authorization.root):
        cached.cache_clear()
    resources.forget_connections()


@pytest.fixture
def extension(monkeypatch: pytest.MonkeyPatch) -> Iterator[Extension]:
    """A provisioned sandbox: the extension answers, database and cache do not."""
    with serving_secrets({"inbound": {"secrets": ["whsec_a"]}}) as serving:
        for name, value in {
            "AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency",
            "AWS_SESSION_TOKEN": "sandbox",
            "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": str(serving.port),
            "CARDWRIGHT_STAGE": "prod",
            "CARDWRIGHT_PUBLIC_URL": "https://api.example",
            "CARDWRIGHT_PROCESSOR_INBOUND_SECRET": "inbound",
            "CARDWRIGHT_DATABASE_APP": f"postgresql://app:given@127.0.0.1:{closed_port()}/cardwright",
            "CARDWRIGHT_CACHE_URL": f"redis://127.0.0.1:{closed_port()}",
        }.items():
            monkeypatch.setenv(name, value)
        _nothing_composed()
        yield serving
        _nothing_composed()


def test_secret_database_and_cache_are_had_before_the_first_request(
    extension: Extension, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinged: list[Database] = []

    def ping(database: Database) -> bool:
        pinged.append(database)
        return True

    monkeypatch.setattr(Database, "ping", ping)
    with listening(b"+PONG\r\n") as cache:
        monkeypatch.setenv("CARDWRIGHT_CACHE_URL", f"redis://127.0.0.1:{cache.port}")
        authorization.warm(NEEDS)
        assert cache.connections == 1
        kept: Cache = resources.cache_client(authorization.CACHE_BUDGET_S)
        kept.close()
    assert extension.asked == ["inbound"]
    assert len(pinged) == 1
    assert authorization.root.cache_info().currsize == 1


def test_what_is_missing_is_told_and_hinders_nothing_else(extension: Extension, capsys: pytest.CaptureFixture[str]) -> None:
    extension.status = 400
    authorization.warm(NEEDS)
    said = capsys.readouterr().out
    assert said.count("warming up failed") == 2
    assert "whsec_" not in said
    extension.status = 200
    assert [secret.reveal() for secret in authorization.root(NEEDS).inbound_secrets()] == ["whsec_a"]


@pytest.mark.parametrize("kind", ["", "on-demand", "snap-start"])
def test_elsewhere_nothing_is_warmed(extension: Extension, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", kind)
    authorization.warm(NEEDS)
    assert extension.asked == []
    assert authorization.root.cache_info().currsize == 0
