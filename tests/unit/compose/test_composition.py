"""Composition: settings from variables, capabilities refused that no row asked for, short-lived credentials."""

from collections.abc import Iterator

import pytest

from cardwright.compose import authorization, resources, settings
from cardwright.compose.api import Api
from cardwright.compose.authorization import Authorization
from cardwright.compose.workers import Workers
from cardwright.kernel.errors import BrokenInvariantError
from cardwright.kernel.rows import Capability
from cardwright.platform.clock import OffsetClock, SystemClock
from functions.vault.routes import REENCRYPT_CARD_NUMBERS

LOCAL = {
    "CARDWRIGHT_STAGE": "local",
    "CARDWRIGHT_PUBLIC_URL": "http://localhost:8080/",
    "CARDWRIGHT_CORS_ORIGINS": "http://a.test,,http://b.test",
    "CARDWRIGHT_RATE_LIMITS": "off",
    "CARDWRIGHT_CLOCK_FILE": "/run/clock",
    "CARDWRIGHT_OTHER_URLS": "http://127.0.0.1:9001,http://127.0.0.1:9002",
}


@pytest.fixture(autouse=True)
def nothing_composed() -> Iterator[None]:
    """No part made before or after."""
    caches = (settings.settings, resources.clock, resources.ids, resources.secrets, resources.database, resources.cache_client)
    for cached in (*caches, authorization.root):
        cached.cache_clear()
    yield
    for cached in (*caches, authorization.root):
        cached.cache_clear()


def test_settings_are_read_from_their_variables() -> None:
    told = settings.read(LOCAL)
    assert (told.stage, told.local, told.public_url) == ("local", True, "http://localhost:8080")
    assert told.cors_origins == {"http://a.test", "http://b.test"}
    assert (told.rate_limits, told.clock_file) == (False, "/run/clock")
    assert told.own_urls == ("http://localhost:8080", "http://127.0.0.1:9001", "http://127.0.0.1:9002")


def test_off_the_laptop_quotas_stay_on_and_the_clock_is_the_systems() -> None:
    told = settings.read(LOCAL | {"CARDWRIGHT_STAGE": "prod"})
    assert (told.local, told.rate_limits, told.clock_file) == (False, True, None)
    assert told.own_urls == (told.public_url,)


@pytest.mark.parametrize("name", ["CARDWRIGHT_STAGE", "CARDWRIGHT_PUBLIC_URL"])
def test_a_missing_variable_is_named(name: str) -> None:
    with pytest.raises(BrokenInvariantError, match=name):
        settings.read({key: value for key, value in LOCAL.items() if key != name})


def test_a_variable_is_read_only_with_its_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARDWRIGHT_CACHE_URL", "redis://cache")
    assert settings.variable(Capability.CACHE, "CARDWRIGHT_CACHE_URL") == "redis://cache"
    with pytest.raises(BrokenInvariantError, match="does not belong"):
        settings.variable(Capability.DATABASE_APP, "CARDWRIGHT_CACHE_URL")


@pytest.mark.parametrize(
    "part", ["database", "cache", "sealer", "signing", "mac", "data_keys", "vault", "processor", "messages", "kyc_provider"]
)
def test_a_part_no_row_asked_for_is_refused(part: str) -> None:
    with pytest.raises(BrokenInvariantError, match="does not ask for"):
        getattr(Api(frozenset()), part)


@pytest.mark.parametrize(
    "part", ["database", "sealer", "outbox", "egress", "webhook_sender", "vault", "card_numbers", "export_runs"]
)
def test_workers_are_refused_alike(part: str) -> None:
    with pytest.raises(BrokenInvariantError, match="does not ask for"):
        getattr(Workers(frozenset()), part)


@pytest.mark.parametrize("missing", [Capability.VAULT_KEY, Capability.VAULT_DECRYPT, Capability.DATABASE_WORKER])
def test_card_numbers_are_moved_by_nobody_who_may_not_read_them(missing: Capability, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (LOCAL | {"CARDWRIGHT_VAULT_KEY_ARNS": "arn", "AWS_REGION": "eu-west-1"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BrokenInvariantError, match=f"does not ask for {missing}$"):
        _ = Workers(REENCRYPT_CARD_NUMBERS.needs - {missing}).card_numbers


@pytest.mark.parametrize("missing", [Capability.DATABASE_APP, Capability.CACHE, Capability.PROCESSOR_INBOUND])
def test_the_authorization_path_is_refused_without_its_capabilities(missing: Capability) -> None:
    needs = {Capability.DATABASE_APP, Capability.CACHE, Capability.PROCESSOR_INBOUND} - {missing}
    with pytest.raises(BrokenInvariantError, match=str(missing)):
        Authorization(frozenset(needs))


def test_a_database_url_without_a_password_gets_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x" * 40)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("CARDWRIGHT_DATABASE_APP", "postgresql://app@proxy.example.com:5432/cardwright")
    told = resources.conninfo(Capability.DATABASE_APP)
    assert told.startswith(
        "host=proxy.example.com port=5432 user=app dbname=cardwright password='proxy.example.com:5432/?Action=connect"
    )
    assert "eu-west-1%2Frds-db" in told
    assert "sslmode=verify-full" in told
    monkeypatch.setenv("CARDWRIGHT_DATABASE_APP", "postgresql://app:given@localhost/cardwright")
    assert resources.conninfo(Capability.DATABASE_APP) == "postgresql://app:given@localhost/cardwright"


def test_the_local_clock_is_the_one_in_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("clock") / "clock"
    file.write_bytes((3_600_000_000).to_bytes(8, "little", signed=True))
    for name, value in (LOCAL | {"CARDWRIGHT_CLOCK_FILE": str(file)}).items():
        monkeypatch.setenv(name, value)
    clock = resources.clock()
    assert isinstance(clock, OffsetClock)
    assert 3590 < (clock.now() - SystemClock().now()).total_seconds() <= 3600


def test_the_extension_listens_where_lambda_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", "2773")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "sandbox")
    assert settings.secrets_extension() == (2773, "sandbox")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    assert settings.region() == "us-east-1"
