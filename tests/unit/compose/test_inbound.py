"""Which scheme the processor's messages are taken in: the one of the processor that the inbound secret names."""

from collections.abc import Iterator
from typing import Any

import pytest

from cardwright.compose import processors, resources, settings
from cardwright.compose.api import Api
from cardwright.compose.settings import Settings
from cardwright.kernel.errors import BrokenInvariantError
from cardwright.kernel.rows import Capability
from cardwright.providers.inbound_lithic import LithicInbound
from cardwright.providers.inbound_marqeta import MarqetaInbound
from cardwright.providers.inbound_standard import StandardInbound
from cardwright.providers.inbound_stripe import StripeInbound
from cardwright.providers.proven import PROCESSORS
from functions.transactions.routes import RECEIVE_PROCESSOR_EVENT
from tests.fakes.secrets_extension import Extension, serving_secrets

SCHEMES = {"simulated": StandardInbound, "lithic": LithicInbound, "stripe": StripeInbound, "marqeta": MarqetaInbound}
_CACHES = (settings.settings, resources.clock, resources.ids, resources.secrets, resources.database)


def stage(named: str) -> Settings:
    """Settings of a stage."""
    return Settings(stage=named, public_url="https://api.test", cors_origins=frozenset(), rate_limits=True, clock_file=None)


@pytest.fixture
def extension(monkeypatch: pytest.MonkeyPatch) -> Iterator[Extension]:
    """The function's variables, and the extension it asks for its secret; nothing composed before or after."""
    with serving_secrets({"inbound": {"secrets": ["one"]}}) as served:
        for name, value in {
            "CARDWRIGHT_STAGE": "dev",
            "CARDWRIGHT_PUBLIC_URL": "http://localhost",
            "CARDWRIGHT_DATABASE_WORKER": "postgresql://worker:none@127.0.0.1:9/none",
            "CARDWRIGHT_PROCESSOR_INBOUND_SECRET": "inbound",
            "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": str(served.port),
            "AWS_SESSION_TOKEN": "sandbox",
        }.items():
            monkeypatch.setenv(name, value)
        for cached in _CACHES:
            cached.cache_clear()
        yield served
        for cached in _CACHES:
            cached.cache_clear()


@pytest.mark.parametrize("named", sorted(processors.NAMES))
def test_every_processor_has_a_scheme(named: str) -> None:
    assert type(processors.inbound_scheme(stage("dev"), named)) is SCHEMES[named]


def test_a_processor_there_is_none_of_has_no_scheme() -> None:
    with pytest.raises(BrokenInvariantError, match="no processor called visa"):
        processors.inbound_scheme(stage("local"), "visa")


@pytest.mark.parametrize("named", sorted(processors.NAMES - PROCESSORS))
def test_prod_takes_no_events_through_an_unproven_adapter(named: str) -> None:
    with pytest.raises(BrokenInvariantError, match="unproven"):
        processors.inbound_scheme(stage("prod"), named)


@pytest.mark.parametrize(("told", "scheme"), [({}, StandardInbound), ({"processor": "stripe"}, StripeInbound)])
def test_the_inbound_secret_names_the_processor_it_is_of(extension: Extension, told: dict[str, Any], scheme: type) -> None:
    extension.secrets["inbound"] = {"secrets": ["one", "two"], **told}
    events = Api(RECEIVE_PROCESSOR_EVENT.needs).processor_events
    assert type(events._scheme) is scheme
    assert [secret.reveal() for secret in events._secrets()] == ["one", "two"]


@pytest.mark.parametrize("missing", [Capability.DATABASE_WORKER, Capability.PROCESSOR_INBOUND])
def test_events_are_taken_by_nobody_whose_row_did_not_ask(extension: Extension, missing: Capability) -> None:
    with pytest.raises(BrokenInvariantError, match=f"does not ask for {missing}$"):
        _ = Api(RECEIVE_PROCESSOR_EVENT.needs - {missing}).processor_events
