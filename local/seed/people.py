"""The stack's users: staff, two cardholders and fifty for load, each verified and with an authenticator enrolled."""

import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pyotp

LOAD_USERS: Final = 50
_ROLES: Final = {
    "admin": "admin",
    "compliance": "compliance_officer",
    "support": "support",
    "cardholder": "cardholder",
    "cardholder2": "cardholder",
}
_NAMES: Final = {
    "admin": ("Ada", "Novak"),
    "compliance": ("Carlos", "Okafor"),
    "support": ("Sunita", "Berg"),
    "cardholder": ("Maria", "Fontaine"),
    "cardholder2": ("Jonas", "Keller"),
}
# Two threads per core are enough: the work is Argon2, which releases the interpreter.
_THREADS: Final = 4


def _person(email: str, role: str, names: tuple[str, str]) -> dict[str, str]:
    return {
        "email": email,
        "password": secrets.token_urlsafe(18),
        "totp_secret": pyotp.random_base32(),
        "role": role,
        "first_name": names[0],
        "last_name": names[1],
    }


def new_people() -> dict[str, Any]:
    """Make up the users with random passwords and authenticator secrets; nothing is stored yet."""
    people: dict[str, Any] = {name: _person(f"{name}@example.com", role, _NAMES[name]) for name, role in _ROLES.items()}
    people["load"] = [
        _person(f"load{number:02d}@example.com", "cardholder", ("Load", f"User{number:02d}")) for number in range(LOAD_USERS)
    ]
    return people


def everyone(people: Mapping[str, Any]) -> list[dict[str, str]]:
    """The named users and those for load in one list."""
    return [*(people[name] for name in _ROLES), *people["load"]]


def as_published(people: Mapping[str, Any]) -> dict[str, Any]:
    """The users as `stack.json` shows them."""

    def shown(person: Mapping[str, str]) -> dict[str, str]:
        return {name: person[name] for name in ("email", "password", "totp_secret", "user_id")}

    return {**{name: shown(people[name]) for name in _ROLES}, "load": [shown(person) for person in people["load"]]}


def provision(people: Mapping[str, Any]) -> None:
    """Store every user through the identity service, noting ids in `people`; needs the functions' environment."""
    # Late: only the seed's own process has the environment these read.
    from cardwright.compose.api import Api
    from cardwright.kernel.rows import Capability, Role
    from cardwright.kernel.secret import Secret
    from cardwright.kyc.rules import KycStatus

    api = Api(frozenset({Capability.DATABASE_APP, Capability.MAC_KEY, Capability.USER_KEY}))

    def store(person: dict[str, str]) -> None:
        user_id = api.identity.provision_user(
            email=person["email"],
            password=Secret(person["password"]),
            role=Role(person["role"]),
            first_name=person["first_name"],
            last_name=person["last_name"],
            totp_secret=Secret(person["totp_secret"]),
        )
        api.kyc.provision_status(user_id, KycStatus.VERIFIED)
        person["user_id"] = str(user_id)

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(store, everyone(people)))
