"""Devices: which tokens and numbers are taken."""

import pytest

from cardwright.kernel.errors import InvalidFieldsError
from cardwright.kernel.secret import Secret
from cardwright.notifications.rules import Channel, NewDevice, Platform, check_device


def fault_of(wanted: NewDevice) -> str | None:
    """The code of what is wrong with a device."""
    try:
        check_device(wanted)
    except InvalidFieldsError as error:
        return error.errors[0].code
    return None


@pytest.mark.parametrize(
    ("number", "taken"),
    [
        ("+15550100123", True),
        ("+4930123456", True),
        ("+123456789012345", True),
        ("+1234567890123456", False),
        ("+123456", False),
        ("+05550100123", False),
        ("15550100123", False),
        ("+1 555 0100123", False),
        ("+1555010012\N{ARABIC-INDIC DIGIT THREE}", False),
        ("+15550100123\n", False),
        ("", False),
    ],
    ids=range(11),
)
def test_numbers_are_in_international_form(number: str, taken: bool) -> None:
    assert fault_of(NewDevice(Channel.SMS, phone_number=Secret(number))) == (None if taken else "phone_number_invalid")


@pytest.mark.parametrize(
    ("token", "taken"),
    [("x" * 8, True), ("x" * 4096, True), ("x" * 7, False), ("x" * 4097, False), ("with space", False), ("ümläute-x", False)],
    ids=range(6),
)
def test_tokens_are_visible_characters(token: str, taken: bool) -> None:
    assert fault_of(NewDevice(Channel.PUSH, Platform.IOS, token=Secret(token))) == (None if taken else "token_invalid")


def test_a_device_has_what_its_channel_needs() -> None:
    assert fault_of(NewDevice(Channel.PUSH, token=Secret("x" * 20))) == "platform_missing"
    assert fault_of(NewDevice(Channel.PUSH, Platform.WEB)) == "token_invalid"
    assert fault_of(NewDevice(Channel.SMS)) == "phone_number_invalid"
    assert fault_of(NewDevice(Channel.EMAIL)) == "channel_without_devices"
