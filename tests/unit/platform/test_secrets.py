"""Secrets over the extension's HTTP: held for minutes, used on when a refresh fails, never printed."""

import pytest

from cardwright.kernel.errors import UnavailableError
from cardwright.platform.secrets import REFRESH_S, ExtensionStore
from tests.fakes.secrets_extension import serving_secrets
from tests.fakes.tcp import closed_port


class Ticks:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_secret_is_fetched_once_in_a_while() -> None:
    ticks = Ticks()
    with serving_secrets({"a/b c": {"key": "one"}}) as extension:
        store = ExtensionStore(extension.port, "sandbox", monotonic=ticks)
        assert store.get("a/b c").reveal() == {"key": "one"}
        extension.secrets["a/b c"] = {"key": "two"}
        ticks.now += REFRESH_S - 1
        assert store.get("a/b c").reveal() == {"key": "one"}
        ticks.now += 1
        assert store.get("a/b c").reveal() == {"key": "two"}
        assert extension.asked == ["a/b c"] * 2
        assert extension.tokens == ["sandbox"] * 2


def test_a_held_value_is_used_on_when_the_extension_fails() -> None:
    ticks = Ticks()
    with serving_secrets({"a": {"key": "one"}}) as extension:
        store = ExtensionStore(extension.port, "sandbox", monotonic=ticks)
        held = store.get("a")
        ticks.now += REFRESH_S
        extension.status = 500
        assert store.get("a") == held
        assert len(extension.asked) == 2
        assert "one" not in repr(held)


@pytest.mark.parametrize("text", ["", "not json", "{}", '{"SecretString": "[]"}', '{"SecretString": "{"}', "[]"])
def test_an_answer_that_is_no_secret_is_unavailable(text: str) -> None:
    with serving_secrets({}) as extension:
        extension.text = text or " "
        with pytest.raises(UnavailableError) as gone:
            ExtensionStore(extension.port, "sandbox").get("a")
        assert gone.value.code == "secrets_unavailable"


def test_an_extension_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(UnavailableError):
        ExtensionStore(closed_port(), "sandbox").get("a")
