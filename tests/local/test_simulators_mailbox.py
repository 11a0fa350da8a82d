"""The message channels: their mailbox as a page, repeats under one key, and addresses that take nothing."""

import re
from typing import Any

import httpx
import pytest

from tests.local.outside_world import World


def shown(world: World, **query: str) -> str:
    """The mailbox's page."""
    page = world.http.get(f"{world.messages.url}/", params=query)
    assert page.status_code == 200
    return page.text


def listed(world: World, **query: str) -> list[dict[str, Any]]:
    """The mailbox as JSON."""
    return list(world.http.get(f"{world.messages.url}/messages", params=query).json())


def send(world: World, key: str | None = None, **message: Any) -> httpx.Response:
    """Send a text, or what is said instead, under an idempotency key."""
    wanted = {"channel": "sms", "to": "+15550103", "body": "b", **message}
    return world.call(world.messages, "POST", "/v1/messages", json=wanted, headers={"Idempotency-Key": key} if key else {})


def test_a_repeat_under_the_same_key_is_delivered_once_and_answered_alike(world: World, key: str) -> None:
    first, second = send(world, key), send(world, key)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json()
    assert len(listed(world)) == 1
    assert send(world, key + "-2").json() != first.json()
    assert len(listed(world)) == 2


def test_an_address_set_dead_is_answered_gone_and_gets_nothing(world: World) -> None:
    world.faults(messages={"dead_addresses": ["token-1"]})
    assert send(world, channel="push", to="token-1").status_code == 410
    assert send(world, channel="push", to="token-2").status_code == 202
    assert [message["to"] for message in listed(world)] == ["token-2"]


@pytest.mark.parametrize("faults", [{"refused_addresses": ["+15550103"]}, {"refused_channels": ["sms"]}])
def test_a_refused_message_is_not_delivered_and_another_is(world: World, faults: dict[str, Any]) -> None:
    world.faults(messages=faults)
    assert send(world).status_code == 422
    assert send(world, channel="email", to="ada@example.com").status_code == 202
    assert [message["channel"] for message in listed(world)] == ["email"]


def test_messages_are_found_by_channel_and_by_words_in_any_case(world: World) -> None:
    send(world, channel="email", to="ada@example.com", subject="Your card is frozen", body="Card 4242")
    send(world, body="Code 123456")
    send(world, channel="push", to="token-1", subject="Card", body="used")
    assert [message["channel"] for message in listed(world, channel="push")] == ["push"]
    assert [message["channel"] for message in listed(world, q="CARD")] == ["email", "push"]
    assert [message["channel"] for message in listed(world, q="ADA@", channel="email")] == ["email"]
    assert listed(world, q="card%") == []
    page = shown(world, q="card", channel="email")
    assert ("frozen" in page, "used" in page, "123456" in page) == (True, False, False)
    assert "value='card'" in page


def test_the_page_shows_the_newest_first_and_takes_empty_fields_for_none(world: World) -> None:
    for body in ("the first", "the second"):
        send(world, body=body)
    page = shown(world, q="", channel="", to="")
    assert 0 < page.index("the second") < page.index("the first")
    assert "No message." in shown(world, q="nothing of the kind")


def test_one_message_is_shown_whole_with_its_data(world: World) -> None:
    send(world, channel="push", to="token-1", subject="Title", body="x" * 400, data={"code": "123456"})
    (place,) = re.findall(r"href='(/view/[0-9]+)'", shown(world))
    assert "x" * 400 not in shown(world)
    page = world.http.get(world.messages.url + place)
    assert "x" * 400 in page.text
    assert "123456" in page.text
    for path in ("/view/0", "/view/99999999999999999999", "/view/-1"):
        assert world.http.get(world.messages.url + path).status_code == 404


def test_nothing_of_a_message_becomes_part_of_the_pages(world: World) -> None:
    hostile = "' autofocus onfocus='x'><script>alert(1)</script>"
    send(world, channel="email", to=hostile, subject=hostile, body=hostile, data={hostile: hostile})
    (place,) = re.findall(r"href='(/view/[0-9]+)'", shown(world))
    pages = [shown(world), shown(world, to=hostile), shown(world, q=hostile), shown(world, channel=hostile)]
    one = world.http.get(world.messages.url + place)
    for page in (*pages, one.text):
        assert "<script" not in page
        # An unescaped quote would end an attribute, also without a tag behind it.
        assert "' autofocus" not in page
    policy = one.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
