"""Identity's messages over the channels of notifications: order, failover, and what is told of it."""

from uuid import UUID

import pytest

from cardwright.kernel.clock import FixedClock
from cardwright.kernel.errors import CardwrightError, ProviderRefusedError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.notifications.ports import DeadAddressError, Kind, Rendered
from cardwright.platform.ids import IdSource
from cardwright.providers.messages_channels import ChannelMessages
from tests.fix_identity import START


class Provider:
    """Keeps what it is given, or fails."""

    def __init__(self, failure: CardwrightError | None = None) -> None:
        self.name = "kept"
        self.sent: list[tuple[str, Rendered, UUID]] = []
        self._failure = failure

    def send(self, to: Secret[str], message: Rendered, message_id: UUID) -> str | None:
        """Take a message."""
        self.sent.append((to.reveal(), message, message_id))
        if self._failure is not None:
            raise self._failure
        return None


def away() -> Provider:
    """A provider that does not answer."""
    return Provider(UnavailableError("away", code="messages_unavailable"))


def send(*providers: Provider) -> None:
    """Send a mail over providers."""
    channels: dict[Kind, tuple[Provider, ...]] = {"email": providers, "sms": (), "push": ()}
    ChannelMessages(channels, IdSource(FixedClock(START))).send("email", "ada@example.com", "Hello", "Body", {"code": "123456"})


def test_the_first_provider_that_answers_gets_the_message_and_no_other() -> None:
    first, second = Provider(), Provider()
    send(first, second)
    ((to, message, _),) = first.sent
    assert (to, message) == ("ada@example.com", Rendered("Hello", "Body", {"code": "123456"}))
    assert second.sent == []


def test_one_that_does_not_answer_is_followed_by_the_next_under_the_same_id() -> None:
    first, second = away(), Provider()
    send(first, second)
    assert [sent[2] for sent in first.sent] == [sent[2] for sent in second.sent]


def test_when_none_answers_it_is_unavailable() -> None:
    with pytest.raises(UnavailableError) as caught:
        send(away(), away())
    assert caught.value.code == "messages_unavailable"


@pytest.mark.parametrize("failure", [ProviderRefusedError("no", code="messages_refused"), DeadAddressError("gone")])
def test_a_refusal_is_final(failure: CardwrightError) -> None:
    second = Provider()
    with pytest.raises(type(failure)):
        send(Provider(failure), second)
    assert second.sent == []


def test_a_channel_without_a_provider_refuses() -> None:
    with pytest.raises(ProviderRefusedError) as caught:
        send()
    assert caught.value.code == "messages_refused"
