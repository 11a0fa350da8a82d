"""Which providers carry messages on a stage."""

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from cardwright.compose import channels
from cardwright.compose.settings import Settings
from cardwright.kernel.errors import BrokenInvariantError

MAILTO = "mailto:no-reply@example.com"
LISTED = {
    "email": ["ses", "sendgrid"],
    "sms": ["twilio", "sns"],
    "push": ["fcm"],
    "ses": {"configuration_set": "bounces"},
    "sendgrid": {"api_key": "key-1"},
}


@pytest.fixture(autouse=True)
def region(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of AWS are made without asking it anything."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def settings(public_url: str = "https://api.example.com") -> Settings:
    """Settings of a stage in the cloud."""
    return Settings(stage="dev", public_url=public_url, cors_origins=frozenset(), rate_limits=True, clock_file=None)


def names(named: str, url: str, secret: Mapping[str, Any]) -> dict[str, list[str]]:
    """The providers of each channel, in their order."""
    found = channels.channels(settings(), named, url, lambda: secret)
    return {channel: [provider.name for provider in providers] for channel, providers in found.items()}


def test_a_simulated_stage_has_every_channel() -> None:
    told = names("simulated", "http://127.0.0.1:1", {"api_key": "k"})
    assert told == {"email": ["simulated"], "sms": ["simulated"], "push": ["simulated"]}


def test_a_stage_with_ses_alone_sends_mail_and_reads_no_secret() -> None:
    def secret() -> Mapping[str, Any]:
        raise AssertionError("there is none")

    found = channels.channels(settings(), "ses", MAILTO, secret)
    assert {channel: len(providers) for channel, providers in found.items()} == {"email": 1, "sms": 0, "push": 0}


def test_listed_providers_come_in_the_order_in_which_they_are_listed() -> None:
    assert names("listed", MAILTO, LISTED) == {"email": ["ses", "sendgrid"], "sms": ["twilio", "sns"], "push": ["fcm"]}
    assert names("listed", MAILTO, {"sms": ["sns"]}) == {"email": [], "sms": ["sns"], "push": []}


@pytest.mark.parametrize(
    "document",
    [
        {"email": ["fcm"]},
        {"email": ["gmail"]},
        {"sms": "twilio"},
        {"sms": ["sns", "sns"]},
        {"push": [7]},
        {"email": ["ses"], "ses": 7},
    ],
)
def test_a_list_that_cannot_be_meant_is_refused(document: Mapping[str, Any]) -> None:
    with pytest.raises(BrokenInvariantError):
        names("listed", MAILTO, document)


@pytest.mark.parametrize(("named", "url"), [("post", MAILTO), ("ses", "https://ses"), ("listed", "https://x")])
def test_unknown_channels_and_ones_without_a_sender_are_refused(named: str, url: str) -> None:
    with pytest.raises(BrokenInvariantError):
        names(named, url, LISTED)


@pytest.mark.parametrize(
    ("public_url", "status_url"),
    [("https://api.example.com", "https://api.example.com/api/v1/webhooks/messages/twilio"), ("http://localhost:8080", None)],
)
def test_twilio_is_told_where_to_report_where_it_would_call(public_url: str, status_url: str | None) -> None:
    found = channels.channels(settings(public_url), "listed", MAILTO, lambda: {"sms": ["twilio"]})
    (provider,) = found["sms"]
    assert vars(provider)["_status_url"] == status_url


def test_only_named_providers_are_imported() -> None:
    program = (
        "import sys; from cardwright.compose import channels; from cardwright.compose.settings import Settings; "
        "settings = Settings('dev', 'https://api.test', frozenset(), True, None); "
        "channels.channels(settings, 'simulated', 'http://m.test', dict); "
        "print(sorted({'twilio', 'google.auth', 'boto3'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
