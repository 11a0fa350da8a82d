"""API keys of a party: how they are read from its secret, and which is shown when."""

from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from cardwright.kernel.errors import BrokenInvariantError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.providers.keys import Credentials, WrongKeyError, read_credentials, with_keys

PROGRAM = UUID("01930000-0000-7000-8000-000000000002")
KEYS = (Secret("new"), Secret("old"))


class Program(BaseModel):
    """What a vendor calls a program."""

    product: str
    user: str = "nobody"


@pytest.mark.parametrize(
    ("document", "keys"),
    [({"api_key": "a"}, ["a"]), ({"api_keys": ["b", "a"]}, ["b", "a"]), ({"api_keys": ["b"], "api_key": "a"}, ["b"])],
)
def test_one_key_or_several_are_read_the_newest_first(document: dict[str, Any], keys: list[str]) -> None:
    assert [key.reveal() for key in read_credentials(document).api_keys] == keys
    assert read_credentials(document).settings == {}


@pytest.mark.parametrize(
    "document",
    [{}, {"api_key": ""}, {"api_key": None}, {"api_keys": []}, {"api_keys": "k3y"}, {"api_keys": ["k3y", ""]}, {"api_keys": [3]}],
)
def test_a_secret_of_another_shape_is_damage_that_is_not_repeated(document: dict[str, Any]) -> None:
    with pytest.raises(BrokenInvariantError) as damage:
        read_credentials(document)
    assert "k3y" not in str(damage.value)
    with pytest.raises(BrokenInvariantError):
        read_credentials({"api_key": "a", "settings": []})


def test_a_program_has_the_default_and_what_is_its_own() -> None:
    credentials = Credentials(KEYS, {"default": {"product": "p", "user": "u"}, "programs": {str(PROGRAM): {"product": "q"}}})
    assert credentials.of_program(PROGRAM, Program) == Program(product="q", user="u")
    assert credentials.of_program(UUID(int=1), Program) == Program(product="p", user="u")
    with pytest.raises(BrokenInvariantError):
        Credentials(KEYS).of_program(PROGRAM, Program)


def test_the_newest_key_is_shown_first_and_the_others_only_where_it_is_unknown() -> None:
    shown: list[str] = []

    def call(key: Secret[str]) -> str:
        shown.append(key.reveal())
        if key.reveal() == "new" and len(shown) > 1:
            raise WrongKeyError
        return key.reveal()

    assert [with_keys(KEYS, call), with_keys(KEYS, call)] == ["new", "old"]
    assert shown == ["new", "new", "old"]


@pytest.mark.parametrize("keys", [KEYS, ()])
def test_no_good_key_is_transient(keys: tuple[Secret[str], ...]) -> None:
    def call(key: Secret[str]) -> None:
        raise WrongKeyError

    with pytest.raises(UnavailableError) as failure:
        with_keys(keys, call)
    assert failure.value.code == "processor_unavailable"
