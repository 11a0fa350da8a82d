"""Keys from the sandbox's HTTP: held until shortly before they expire, told to nobody far away, never shown."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from cardwright.kernel.errors import BrokenInvariantError, UnavailableError
from cardwright.platform.credentials import MARGIN, ContainerCredentials
from tests.fakes.container_credentials import Sandbox, serving_credentials
from tests.fakes.tcp import closed_port

START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Watch:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        """The time."""
        return self.time


def reader(sandbox: Sandbox, watch: Watch) -> ContainerCredentials:
    """A reader of this sandbox's keys."""
    return ContainerCredentials(sandbox.uri, sandbox.token, watch)


def test_keys_are_asked_for_once_until_shortly_before_they_expire() -> None:
    watch = Watch()
    with serving_credentials(START + HOUR) as sandbox:
        keys = reader(sandbox, watch)
        first = keys.get()
        assert (first.access_key, first.secret_key, first.session_token) == ("ASIACONTAINER", "not-a-key", "session")
        assert "not-a-key" not in repr(first)
        watch.time = START + HOUR - MARGIN - timedelta(seconds=1)
        sandbox.access_key, sandbox.expires = "ASIANEXT", START + 2 * HOUR
        assert keys.get() == first
        watch.time += timedelta(seconds=1)
        assert keys.get().access_key == "ASIANEXT"
        assert sandbox.asked == 2


def test_many_threads_ask_once() -> None:
    with serving_credentials(START + HOUR) as sandbox, ThreadPoolExecutor(8) as pool:
        keys = reader(sandbox, Watch())
        assert len(set(pool.map(lambda _: keys.get(), range(8)))) == 1
        assert sandbox.asked == 1


def test_held_keys_are_used_on_while_they_are_valid_and_no_longer() -> None:
    watch = Watch()
    with serving_credentials(START + HOUR) as sandbox:
        keys = reader(sandbox, watch)
        held = keys.get()
        sandbox.status = 500
        watch.time = START + HOUR - MARGIN
        assert keys.get() == held
        assert keys.get() == held
        assert sandbox.asked == 2
        watch.time = START + HOUR
        with pytest.raises(UnavailableError) as gone:
            keys.get()
        assert gone.value.code == "credentials_unavailable"


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"AccessKeyId": "A", "SecretAccessKey": "", "Token": "t", "Expiration": "2026-11-21T10:00:00Z"}']
)
def test_an_answer_without_keys_is_unavailable(text: str) -> None:
    with serving_credentials(START + HOUR) as sandbox:
        sandbox.text = text
        with pytest.raises(UnavailableError):
            reader(sandbox, Watch()).get()


def test_another_token_and_a_closed_port_are_unavailable() -> None:
    with serving_credentials(START + HOUR) as sandbox:
        with pytest.raises(UnavailableError) as refused:
            ContainerCredentials(sandbox.uri, "another", Watch()).get()
        assert "another" not in str(refused.value)
    with pytest.raises(UnavailableError):
        ContainerCredentials(f"http://localhost:{closed_port()}/", "token", Watch()).get()


@pytest.mark.parametrize("uri", ["http://example.com/keys", "http://169.254.169.254/", "ftp://127.0.0.1/", "http:///", "keys"])
def test_the_token_is_told_to_this_machine_alone(uri: str) -> None:
    with pytest.raises(BrokenInvariantError):
        ContainerCredentials(uri, "token", Watch())


@pytest.mark.parametrize("host", ["127.0.0.7", "localhost", "169.254.170.2", "169.254.170.23", "[::1]", "[fd00:ec2::23]"])
def test_hosts_of_the_sdks_are_allowed(host: str) -> None:
    assert ContainerCredentials(f"http://{host}:9001/2021-04-23/credentials", "token", Watch()) is not None
    assert ContainerCredentials("https://keys.example.com/", "token", Watch()) is not None
