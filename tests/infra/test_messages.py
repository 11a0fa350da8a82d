"""What a function that sends messages may do, as the stage's channels are named."""

from dataclasses import replace
from typing import Any

import pytest

from cardwright.kernel.rows import Capability, Task
from infra import capabilities, stages
from infra.capabilities import Group
from tests.infra.test_keys import platform

ROW = Task(name="tell", domain="tests", needs=frozenset({Capability.MESSAGES}))
SENDER = "cards@bank.example"


def granted(adapter: str) -> list[dict[str, Any]]:
    """Statements of the row's role on a stage with these channels."""
    stage = replace(stages.load("prod", {}), messages=stages.Party(adapter=adapter, url=f"mailto:{SENDER}"))
    return [statement.to_statement_json() for statement in capabilities.grants(ROW, platform(), stage)]


def named(adapter: str) -> set[str]:
    """Actions that are allowed."""
    return {
        action
        for statement in granted(adapter)
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }


def test_mail_alone_reads_no_secret_and_publishes_nothing() -> None:
    assert named("ses") == {"ses:SendEmail"}


def test_a_party_of_ours_is_known_by_its_secret() -> None:
    assert named("simulated") == {"secretsmanager:GetSecretValue", "kms:Decrypt"}


def test_listed_channels_read_their_secret_send_mail_and_text() -> None:
    assert named("listed") == {"secretsmanager:GetSecretValue", "kms:Decrypt", "ses:SendEmail", "sns:Publish"}


@pytest.mark.parametrize("adapter", ["ses", "listed"])
def test_mail_is_sent_from_the_stages_sender_alone(adapter: str) -> None:
    (mail,) = [statement for statement in granted(adapter) if statement["Action"] == "ses:SendEmail"]
    assert mail["Condition"] == {"StringEquals": {"ses:FromAddress": SENDER}}
    assert not any("*" in resource for resource in mail["Resource"])


def test_texts_go_to_numbers_and_to_no_topic() -> None:
    (texts,) = [statement for statement in granted("listed") if statement["Action"] == "sns:Publish"]
    assert texts["NotResource"] == "arn:aws:sns:*:*:*"
    assert "Resource" not in texts


def test_who_sends_messages_reaches_the_providers_and_no_stranger() -> None:
    assert capabilities.groups(ROW.needs) == {Group.ENDPOINTS, Group.INTERNET}
