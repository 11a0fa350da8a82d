"""A restored sandbox: no keys in variables, the container's instead; presigned tokens, secrets and the cache go by them."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from botocore.exceptions import EndpointConnectionError

from cardwright.compose import resources, settings
from cardwright.kernel.errors import UnavailableError
from cardwright.kernel.rows import Capability
from cardwright.platform import secrets_manager
from cardwright.platform.clock import SystemClock
from cardwright.platform.secrets import ExtensionStore
from tests.fakes.container_credentials import Sandbox, serving_credentials
from tests.fakes.tcp import closed_port, listening


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """The variables Lambda sets under SnapStart, and none of those it does not."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    with serving_credentials(SystemClock().now() + timedelta(hours=1)) as serving:
        for name, value in serving.variables().items():
            monkeypatch.setenv(name, value)
        resources.secrets.cache_clear()
        resources.forget_connections()
        yield serving
    resources.forget_connections()


class SecretsManager:
    """The SDK's client, of which one call is used."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def get_secret_value(self, *, SecretId: str) -> dict[str, str]:
        """The secret's text, or no answer."""
        if self.text is None:
            raise EndpointConnectionError(endpoint_url="https://secretsmanager.example")
        return {"Name": SecretId, "SecretString": self.text}


def test_database_tokens_are_signed_with_the_containers_keys(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARDWRIGHT_DATABASE_WORKER", "postgresql://worker@proxy.example.com:5432/cardwright")
    for _ in range(2):
        told = resources.conninfo(Capability.DATABASE_WORKER)
        assert "X-Amz-Credential=ASIACONTAINER" in told
        assert "X-Amz-Security-Token=session" in told
    assert sandbox.asked == 1


def test_after_a_restore_the_keys_are_asked_for_again(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARDWRIGHT_DATABASE_WORKER", "postgresql://worker@proxy.example.com:5432/cardwright")
    resources.conninfo(Capability.DATABASE_WORKER)
    sandbox.access_key = "ASIARESTORED"
    resources.forget_connections()
    assert "ASIARESTORED" in resources.conninfo(Capability.DATABASE_WORKER)


def test_keys_in_variables_go_first(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.container_credentials() is not None
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    assert settings.container_credentials() is None


def test_without_keys_the_database_is_unavailable_and_the_cache_is_gone(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.status = 500
    monkeypatch.setenv("CARDWRIGHT_DATABASE_WORKER", "postgresql://worker@proxy.example.com:5432/cardwright")
    with pytest.raises(UnavailableError) as gone:
        resources.database(Capability.DATABASE_WORKER).ping()
    assert gone.value.code == "credentials_unavailable"
    with listening(b"+PONG\r\n") as cache:
        monkeypatch.setenv("CARDWRIGHT_CACHE_URL", f"redis://app@127.0.0.1:{cache.port}?iam=cardwright")
        assert resources.cache_client().ping() is False
        assert cache.connections == 1
        assert cache.heard == []


def test_secrets_are_read_from_secrets_manager(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets_manager, "client", lambda service: SecretsManager('{"secrets": ["whsec_a"]}'))
    assert settings.secrets_extension() is None
    assert [secret.reveal() for secret in resources.signing_secrets("inbound")] == ["whsec_a"]
    assert isinstance(resources.secrets(), secrets_manager.SecretsManagerStore)


@pytest.mark.parametrize("text", [None, "[]", "no json"])
def test_a_secret_that_cannot_be_had_is_unavailable(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    monkeypatch.setattr(secrets_manager, "client", lambda service: SecretsManager(text))
    with pytest.raises(UnavailableError) as gone:
        resources.secrets().get("inbound")
    assert gone.value.code == "secrets_unavailable"


def test_with_a_session_token_the_extension_is_used(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", str(closed_port()))
    assert settings.secrets_extension() is None
    monkeypatch.setenv("AWS_SESSION_TOKEN", "sandbox")
    assert isinstance(resources.secrets(), ExtensionStore)
