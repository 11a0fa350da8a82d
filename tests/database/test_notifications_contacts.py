"""Addresses for those who write to people: opened under each person's own key, and no other."""

from collections.abc import Iterator

import pytest

from cardwright.identity.service import Contacts, ContactSeals, IdentityService
from cardwright.kernel.errors import BrokenInvariantError, UnauthenticatedError
from cardwright.kernel.rows import Role
from cardwright.kernel.secret import Secret
from cardwright.platform.postgres import Actor
from tests.fix_identity import PASSWORD, Someone, Tools, as_role, new_email


@pytest.fixture
def contacts(tools: Tools, database_url: str) -> Iterator[Contacts]:
    """Contacts as a worker opens them."""
    database = as_role(database_url, "worker")
    yield Contacts(database, tools.data_keys)
    database.close()


@pytest.fixture
def seals(tools: Tools) -> ContactSeals:
    """Seals as a door makes them."""
    return ContactSeals(tools.database, lambda: tools.data_keys)


def test_a_confirmed_address_is_opened(contacts: Contacts, someone: Someone) -> None:
    assert contacts.email(someone.user_id) == Secret(someone.email)


def test_an_address_nobody_confirmed_and_one_of_nobody_are_none(
    contacts: Contacts, identity: IdentityService, tools: Tools
) -> None:
    email = new_email()
    identity.register(
        email=email, password=PASSWORD, first_name="Ada", last_name="Lovelace", address="192.0.2.1", request_id=None
    )
    with tools.database.transaction(Actor(None, Role.ADMIN)) as tx:
        rows = tx.fetch_all("SELECT user_id FROM users WHERE email_verified_at IS NULL ORDER BY created_at DESC, user_id DESC")
    assert [contacts.email(row["user_id"]) for row in rows] == [None] * len(rows)
    assert rows
    assert contacts.email(tools.ids.new()) is None


def test_a_value_opens_as_the_same_field_of_the_same_person_alone(
    contacts: Contacts, seals: ContactSeals, identity: IdentityService, someone: Someone
) -> None:
    actor = Actor(someone.user_id, "cardholder")
    sealed = seals.seal(actor, someone.user_id, "device:1", Secret("token"))
    assert contacts.open(someone.user_id, "device:1", sealed) == Secret("token")
    with pytest.raises(BrokenInvariantError):
        contacts.open(someone.user_id, "device:2", sealed)
    other = identity.provision_user(new_email(), PASSWORD, Role.CARDHOLDER, "Bob", "Noyce")
    with pytest.raises(BrokenInvariantError):
        contacts.open(other, "device:1", sealed)


def test_nobody_seals_for_or_knows_of_another(seals: ContactSeals, tools: Tools, someone: Someone) -> None:
    stranger = Actor(tools.ids.new(), "cardholder")
    assert not seals.exists(stranger, someone.user_id)
    assert seals.exists(Actor(tools.ids.new(), "support"), someone.user_id)
    with pytest.raises(UnauthenticatedError):
        seals.seal(stranger, someone.user_id, "device:1", Secret("token"))
