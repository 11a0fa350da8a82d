"""The schedule that sees to lost answers: what it reaches, what it tells, and that it can be composed from its row."""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from cardwright.authorizations.service.entries import UNANSWERED_KEY
from cardwright.compose import resources, settings
from cardwright.compose.workers import workers
from cardwright.kernel.errors import BrokenInvariantError
from cardwright.kernel.rows import Capability
from cardwright.platform.cache import Cache
from functions.authorizations import reconcile_authorizations
from functions.authorizations.routes import RECONCILE_AUTHORIZATIONS
from tests.fakes.secrets_extension import serving_secrets


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch, database_url: str, cache_url: str) -> Iterator[None]:
    """The function's variables, and nothing composed before or after."""

    def forget() -> None:
        resources.forget_connections()
        for cached in (settings.settings, resources.clock, resources.ids, workers):
            cached.cache_clear()

    with serving_secrets({"inbound": {"secrets": ["a secret of tests"]}}) as extension:
        for name, value in {
            "CARDWRIGHT_STAGE": "local",
            "CARDWRIGHT_PUBLIC_URL": "http://localhost",
            "CARDWRIGHT_DATABASE_WORKER": f"{database_url}?options=-c%20role%3Dworker",
            "CARDWRIGHT_CACHE_URL": cache_url,
            "CARDWRIGHT_PROCESSOR_INBOUND_SECRET": "inbound",
            "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": str(extension.port),
            "AWS_SESSION_TOKEN": "sandbox",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("CARDWRIGHT_CLOCK_FILE", raising=False)
        forget()
        yield
        resources.database(Capability.DATABASE_WORKER, 35.0).close()
        resources.cache_client().close()
        forget()


@pytest.mark.usefixtures("composed")
def test_a_run_tells_what_it_gave_back_and_what_it_could_not_read(cache_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    cache = Cache(cache_url, budget_s=2.0)
    assert cache.exchange([("DEL", UNANSWERED_KEY), ("RPUSH", UNANSWERED_KEY, "noise")]) is not None
    context: Any = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000)
    assert reconcile_authorizations.handler({}, context) == {"holds": 0}
    assert cache.exchange([("LLEN", UNANSWERED_KEY)]) == [0]
    cache.close()
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["HoldsVoided"], told["UnansweredUnreadable"]) == (0, 1)


@pytest.mark.parametrize("missing", sorted(RECONCILE_AUTHORIZATIONS.needs))
@pytest.mark.usefixtures("composed")
def test_each_capability_of_its_row_is_needed(missing: Capability) -> None:
    parts = workers(RECONCILE_AUTHORIZATIONS.needs - {missing})
    with pytest.raises(BrokenInvariantError):
        _ = parts.unanswered_holds
