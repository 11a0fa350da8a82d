"""Registration, provisioning, and who may see what in the identity tables."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest

from cardwright.identity.service import IdentityService, Tokens, registration
from cardwright.kernel.errors import (
    BrokenInvariantError,
    CardwrightError,
    InvalidFieldsError,
    RateLimitedError,
    UnprocessableError,
)
from cardwright.kernel.rows import Role
from cardwright.kernel.secret import Secret
from cardwright.platform.keys import DataKeys
from cardwright.platform.postgres import Actor
from cardwright.ratelimit.service import RateLimiter
from tests.fix_identity import ADDRESS, PASSWORD, Someone, Tools, as_role, log_in, new_email

OTHER_PASSWORD = Secret("another long password")


def register(identity: IdentityService, email: str, password: Secret[str] = PASSWORD, first_name: str = "Grace") -> None:
    """Register from one address."""
    identity.register(
        email=email, password=password, first_name=first_name, last_name="Hopper", address=ADDRESS, request_id="req-1"
    )


def confirm(identity: IdentityService, email: str, code: Secret[str]) -> None:
    """Confirm an address."""
    identity.verify_email(email=email, code=code, address=ADDRESS, request_id=None)


def not_confirmed(identity: IdentityService, email: str, code: Secret[str]) -> None:
    """Expect a code to be refused."""
    with pytest.raises(UnprocessableError) as caught:
        confirm(identity, email, code)
    assert caught.value.code == "email_code_invalid"


def login_code(identity: IdentityService, email: str, password: Secret[str] = PASSWORD) -> str:
    """`in`, or the code a login is refused with."""
    try:
        outcome = identity.login(email, password, address=ADDRESS, request_id=None)
    except CardwrightError as error:
        return error.code
    return "in" if isinstance(outcome, Tokens) else "owed"


def other(code: Secret[str]) -> Secret[str]:
    """A code that is not this one."""
    return Secret(f"{(int(code.reveal()) + 1) % 1_000_000:06d}")


def test_a_registration_is_complete_once_the_address_is_confirmed(identity: IdentityService, tools: Tools) -> None:
    email = new_email()
    register(identity, f"  {email.upper()} ")
    assert login_code(identity, email) == "email_not_verified"
    confirm(identity, email, tools.messages.code(email))
    tokens = identity.login(email, PASSWORD, address=ADDRESS, request_id=None)
    assert isinstance(tokens, Tokens)
    principal = identity.authenticate(tokens.access.token.reveal())
    profile = identity.profile(principal, request_id=None)
    assert (profile.first_name, profile.last_name, profile.email) == ("Grace", "Hopper", email)
    assert (profile.role, profile.email_verified, profile.mfa_enrolled) == (Role.CARDHOLDER, True, False)


def test_a_known_address_answers_alike_and_is_mailed_a_note(identity: IdentityService, tools: Tools, someone: Someone) -> None:
    register(identity, someone.email, OTHER_PASSWORD)
    assert [(to, data) for to, _, data in tools.messages.sent] == [(someone.email, {})]
    assert login_code(identity, someone.email, OTHER_PASSWORD) == "invalid_credentials"
    assert login_code(identity, someone.email) == "in"


def two_registrations(identity: IdentityService, tools: Tools, *, owner_first: bool) -> tuple[str, Secret[str], Secret[str]]:
    """An address that its owner and a stranger have registered, the owner's code and the stranger's."""
    email, codes = new_email(), {}
    for owner in (owner_first, not owner_first):
        register(identity, email, PASSWORD if owner else OTHER_PASSWORD, "Grace" if owner else "Mallory")
        codes[owner] = tools.messages.code(email)
    return email, codes[True], codes[False]


@pytest.mark.parametrize("owner_first", [True, False])
def test_a_code_confirms_the_registration_it_was_mailed_for(identity: IdentityService, tools: Tools, owner_first: bool) -> None:
    email, owners, strangers = two_registrations(identity, tools, owner_first=owner_first)
    if owners == strangers:
        pytest.skip("both drew the same code")
    confirm(identity, email, owners)
    assert login_code(identity, email, OTHER_PASSWORD) == "invalid_credentials"
    tokens = identity.login(email, PASSWORD, address=ADDRESS, request_id=None)
    assert isinstance(tokens, Tokens)
    assert tokens.profile.first_name == "Grace"
    not_confirmed(identity, email, strangers)
    assert login_code(identity, email, OTHER_PASSWORD) == "invalid_credentials"


def test_a_code_two_registrations_drew_confirms_neither(identity: IdentityService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "random_digits", lambda _: "123456")
    email = new_email()
    register(identity, email)
    register(identity, email, OTHER_PASSWORD)
    not_confirmed(identity, email, Secret("123456"))


def test_a_later_registration_gives_an_earlier_code_no_new_tries(identity: IdentityService, tools: Tools) -> None:
    email = new_email()
    register(identity, email)
    first = tools.messages.code(email)
    for _ in range(5):
        not_confirmed(identity, email, other(first))
    register(identity, email, OTHER_PASSWORD)
    if first != tools.messages.code(email):
        not_confirmed(identity, email, first)
    confirm(identity, email, tools.messages.code(email))
    assert login_code(identity, email, OTHER_PASSWORD) == "in"


def test_five_registrations_of_an_address_wait_and_the_oldest_makes_room(
    identity: IdentityService, tools: Tools, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    email, drawn = new_email(), iter(f"{number:06d}" for number in range(100))
    monkeypatch.setattr(registration, "random_digits", lambda _: next(drawn))
    for _ in range(6):
        register(identity, email)
        tools.advance(timedelta(seconds=1))
    with psycopg.connect(database_url) as connection:
        held = "SELECT count(*) FROM pending_registrations JOIN user_emails USING (user_id) WHERE email_index = %s"
        index = tools.mac.mac("email", Secret(email.encode()))
        assert connection.execute(held, (index,)).fetchone() == (5,)
        not_confirmed(identity, email, Secret("000000"))
        confirm(identity, email, Secret("000001"))
        connection.commit()
        assert connection.execute(held, (index,)).fetchone() == (0,)


def test_a_code_ends_after_five_wrong_tries(identity: IdentityService, tools: Tools) -> None:
    email = new_email()
    register(identity, email)
    code = tools.messages.code(email)
    for _ in range(5):
        not_confirmed(identity, email, other(code))
    not_confirmed(identity, email, code)
    assert login_code(identity, email) == "email_not_verified"


def test_a_code_ends_after_a_day_and_works_once(identity: IdentityService, tools: Tools) -> None:
    email, late = new_email(), new_email()
    register(identity, email)
    confirm(identity, email, tools.messages.code(email))
    not_confirmed(identity, email, tools.messages.code(email))
    register(identity, late)
    tools.advance(timedelta(hours=24))
    not_confirmed(identity, late, tools.messages.code(late))
    not_confirmed(identity, new_email(), Secret("123456"))


def test_twenty_registrations_of_one_address_make_one_account(identity: IdentityService, tools: Tools, database_url: str) -> None:
    email = new_email()

    def run(_: int) -> None:
        try:
            register(identity, email)
        finally:
            tools.database.close()

    with psycopg.connect(database_url) as connection:
        before = connection.execute("SELECT count(*) FROM users").fetchone()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(run, range(20)))
        connection.commit()
        after = connection.execute("SELECT count(*) FROM users").fetchone()
    assert before is not None
    assert after == (before[0] + 1,)
    assert len(tools.messages.sent) == 20


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"password": Secret("short")}, "password_too_short"),
        ({"password": Secret("a" * 129)}, "password_too_long"),
        ({"email": "nobody"}, "email_invalid"),
        ({"first_name": "  "}, "name_invalid"),
        ({"last_name": "a\nb"}, "name_invalid"),
    ],
)
def test_what_breaks_a_rule_is_refused_before_anything_is_stored(
    identity: IdentityService, tools: Tools, changed: dict[str, object], code: str
) -> None:
    given: dict[str, object] = {"email": new_email(), "password": PASSWORD, "first_name": "A", "last_name": "B", **changed}
    with pytest.raises(InvalidFieldsError) as caught:
        identity.register(**given, address=ADDRESS, request_id=None)  # type: ignore[arg-type]  # the cases mix types
    assert [error.code for error in caught.value.errors] == [code]
    assert tools.messages.sent == []


def test_registrations_and_codes_have_quotas(identity: IdentityService, tools: Tools) -> None:
    tools.ratelimit = RateLimiter(tools.cache, tools.clock, tools.ids, enabled=True)
    email = new_email()
    for _ in range(10):
        not_confirmed(identity, email, Secret("123456"))
    with pytest.raises(RateLimitedError):
        confirm(identity, email, Secret("123456"))
    for _ in range(10):
        register(identity, email)
    with pytest.raises(RateLimitedError):
        register(identity, email)


def test_provisioning_is_idempotent_by_address(identity: IdentityService) -> None:
    email = new_email()
    first = identity.provision_user(email, PASSWORD, Role.ADMIN, "Root", "Admin")
    again = identity.provision_user(email.upper(), OTHER_PASSWORD, Role.SUPPORT, "Other", "Name")
    tokens = identity.login(email, PASSWORD, address=ADDRESS, request_id=None)
    assert isinstance(tokens, Tokens)
    assert (first, tokens.profile.role) == (again, Role.ADMIN)


def test_a_weak_authenticator_secret_is_not_provisioned(identity: IdentityService) -> None:
    with pytest.raises(InvalidFieldsError):
        identity.provision_user(new_email(), PASSWORD, Role.CARDHOLDER, "A", "B", Secret("JBSWY3DP"))


def test_nothing_personal_is_stored_in_the_clear(
    identity: IdentityService, tools: Tools, enrolled: Someone, database_url: str
) -> None:
    granted = log_in(identity, tools, enrolled)
    assert enrolled.totp_secret is not None
    searched = ["Lovelace", enrolled.email, PASSWORD.reveal(), enrolled.totp_secret.reveal(), granted.refresh.reveal()]
    tables = ["users", "user_emails", "user_data_keys", "sessions", "mfa_challenges", "audit_log", "outbox"]
    with psycopg.connect(database_url) as connection:
        stored = "".join(str(connection.execute(f"SELECT * FROM {table}").fetchall()) for table in tables)  # noqa: S608 - names of this test
    assert [text for text in searched if text in stored] == []


def test_a_sealed_value_opens_for_its_user_alone(
    identity: IdentityService, tools: Tools, someone: Someone, enrolled: Someone, database_url: str
) -> None:
    principal = identity.authenticate(log_in(identity, tools, someone).access.token.reveal())
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE user_data_keys AS mine SET wrapped_key = theirs.wrapped_key FROM user_data_keys AS theirs "
            "WHERE theirs.user_id = %s AND mine.user_id = %s",
            (enrolled.user_id, someone.user_id),
        )
    with pytest.raises(BrokenInvariantError):
        identity.profile(principal, request_id=None)


def test_a_destroyed_data_key_leaves_nothing_to_read(
    identity: IdentityService, tools: Tools, someone: Someone, database_url: str
) -> None:
    principal = identity.authenticate(log_in(identity, tools, someone).access.token.reveal())
    with psycopg.connect(database_url) as connection:
        connection.execute("DELETE FROM user_data_keys WHERE user_id = %s", (someone.user_id,))
    with pytest.raises(CardwrightError) as caught:
        identity.profile(principal, request_id=None)
    assert caught.value.code == "invalid_token"


def test_a_user_sees_own_rows_only(tools: Tools, someone: Someone, enrolled: Someone) -> None:
    def seen(actor: Actor) -> set[UUID]:
        with tools.database.transaction(actor) as tx:
            return {row["user_id"] for row in tx.fetch_all("SELECT user_id FROM users JOIN user_data_keys USING (user_id)")}

    assert seen(Actor(someone.user_id, "cardholder")) == {someone.user_id}
    assert seen(Actor(None, "nobody")) == set()
    assert seen(Actor(None, "support")) >= {someone.user_id, enrolled.user_id}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT password_hash FROM users",
        "SELECT refresh_digest FROM sessions",
        "SELECT digest FROM pending_registrations",
        "SELECT password_hash FROM pending_registrations",
        "UPDATE pending_registrations SET tries = 0",
        "UPDATE users SET first_name_sealed = first_name_sealed",
        "UPDATE users SET role = 'admin'",
        "UPDATE users SET email_verified_at = created_at",
        "DELETE FROM users",
        "UPDATE user_emails SET user_id = user_id",
        "UPDATE user_data_keys SET wrapped_key = wrapped_key",
        "DELETE FROM sessions",
    ],
)
def test_the_app_role_may_not(tools: Tools, someone: Someone, sql: str) -> None:
    actor = Actor(someone.user_id, "cardholder")
    with pytest.raises(psycopg.errors.InsufficientPrivilege), tools.database.transaction(actor) as tx:
        tx.execute(sql)


def test_only_an_administrators_transaction_makes_staff(tools: Tools) -> None:
    user_id = tools.ids.new()
    sql = (
        "INSERT INTO users (user_id, role, email_sealed, first_name_sealed, last_name_sealed, password_hash, created_at) "
        "VALUES (%s, 'support', '', '', '', '$argon2id$', %s)"
    )
    for actor in (Actor(user_id, "cardholder"), Actor(user_id, "support")):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), tools.database.transaction(actor) as tx:
            tx.execute(sql, (user_id, tools.clock.now()))
    with tools.database.transaction(Actor(None, "admin")) as tx:
        assert tx.execute(sql, (user_id, tools.clock.now())) == 1


def test_worker_and_auditor_see_no_secrets(database_url: str, someone: Someone) -> None:
    for role in ("worker", "auditor"):
        database = as_role(database_url, role)
        with database.transaction(Actor(None, "system")) as tx:
            assert tx.fetch_one("SELECT role FROM users WHERE user_id = %s", (someone.user_id,)) == {"role": "cardholder"}
        for column, table in (("totp_sealed", "users"), ("email_sealed", "users"), ("wrapped_key", "user_data_keys")):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), database.transaction(Actor(None, "system")) as tx:
                tx.execute(f"SELECT {column} FROM {table}")  # noqa: S608 - names of this test
        database.close()


def test_the_key_service_gone_leaves_no_half_account(identity: IdentityService, tools: Tools, database_url: str) -> None:
    good = tools.data_keys
    tools.data_keys = DataKeys("arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000")
    email = new_email()
    with pytest.raises(CardwrightError) as caught:
        register(identity, email)
    assert caught.value.code == "keys_unavailable"
    tools.data_keys = good
    register(identity, email)
    confirm(identity, email, tools.messages.code(email))
    assert login_code(identity, email) == "in"
    with psycopg.connect(database_url) as connection:
        orphans = connection.execute(
            "SELECT count(*) FROM user_emails WHERE user_id NOT IN (SELECT user_id FROM users)"
        ).fetchone()
    assert orphans == (0,)
