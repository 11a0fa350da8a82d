"""People for tests: the identity service on the real database and cache, keys in an emulated KMS, a standing clock."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import boto3
import pyotp
import pytest
from moto import mock_aws

from cardwright.identity.ports import Channel
from cardwright.identity.service import IdentityService, SecondFactorOwed, Tokens
from cardwright.kernel.clock import FixedClock
from cardwright.kernel.rows import Role
from cardwright.kernel.secret import Secret
from cardwright.platform.cache import Cache
from cardwright.platform.ids import IdSource
from cardwright.platform.keys import DataKeys, MacKey, SigningKeys
from cardwright.platform.postgres import Database
from cardwright.ratelimit.service import RateLimiter

START = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
PUBLIC_URL = "https://api.example.com"
PASSWORD = Secret("correct horse battery staple")
ADDRESS = "192.0.2.7"


def as_role(url: str, role: str) -> Database:
    """The database as one of the four roles sees it; `url` is the superuser's."""
    return Database(lambda: f"{url}?options=-c%20role%3D{role}")


@dataclass(frozen=True)
class KeyArns:
    """Keys of one emulated KMS."""

    signing: list[str]
    mac: str
    user: str


@dataclass
class Mailbox:
    """Message channels that keep what they were given."""

    sent: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)

    def send(self, channel: Channel, to: str, subject: str, body: str, data: Mapping[str, str]) -> None:
        """Keep recipient, subject and data."""
        self.sent.append((to, subject, dict(data)))

    def code(self, to: str) -> Secret[str]:
        """The last code mailed to an address."""
        return Secret([data["code"] for recipient, _, data in self.sent if recipient == to and "code" in data][-1])


class FixedKeys:
    """Derived keys of one secret; `rotate` puts a new one in front."""

    def __init__(self) -> None:
        self._secrets = [b"k" * 32]

    def keys_for(self, purpose: str) -> list[Secret[bytes]]:
        """One key per secret."""
        return [Secret(purpose.encode() + secret) for secret in self._secrets]

    def rotate(self) -> None:
        """Put a new key in front of the others."""
        self._secrets.insert(0, uuid4().bytes * 2)


@dataclass(frozen=True)
class StageSettings:
    """What identity reads of a stage."""

    public_url: str = PUBLIC_URL


@dataclass
class Tools:
    """Everything the identity service takes."""

    clock: FixedClock
    ids: IdSource
    database: Database
    cache: Cache
    mac: MacKey
    data_keys: DataKeys
    signing: SigningKeys
    sealer: FixedKeys
    messages: Mailbox
    ratelimit: RateLimiter
    settings: StageSettings = field(default_factory=StageSettings)

    def advance(self, by: timedelta) -> None:
        """Move the clock on."""
        self.clock.at += by


@dataclass(frozen=True)
class Someone:
    """A provisioned person."""

    user_id: UUID
    email: str
    totp_secret: Secret[str] | None


def totp_code(tools: Tools, secret: Secret[str], steps_ahead: int = 0) -> Secret[str]:
    """The code an authenticator shows now, or some steps later."""
    return Secret(pyotp.TOTP(secret.reveal()).at(tools.clock.now() + timedelta(seconds=30 * steps_ahead)))


def new_email() -> str:
    """An address nobody has."""
    return f"{uuid4().hex}@example.com"


def log_in(service: IdentityService, tools: Tools, who: Someone, steps_ahead: int = 0) -> Tokens:
    """Log somebody in, second factor included."""
    outcome = service.login(who.email, PASSWORD, address=ADDRESS, request_id=None)
    if isinstance(outcome, SecondFactorOwed):
        assert who.totp_secret is not None
        return service.verify_mfa(
            outcome.mfa_token, totp_code(tools, who.totp_secret, steps_ahead), address=ADDRESS, request_id=None
        )
    return outcome


@pytest.fixture(scope="module")
def key_arns() -> Iterator[KeyArns]:
    """Keys in an emulated KMS that lasts for the module."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        kms = boto3.client("kms")
        signing = [
            kms.create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"],
            kms.create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"],
        ]
        mac = kms.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["Arn"]
        yield KeyArns(signing, mac, kms.create_key()["KeyMetadata"]["Arn"])


@pytest.fixture
def tools(key_arns: KeyArns, database_url: str, cache_url: str) -> Iterator[Tools]:
    """The tools of the identity service."""
    clock = FixedClock(START)
    ids = IdSource(clock)
    database, cache = as_role(database_url, "app"), Cache(cache_url, budget_s=2.0)
    yield Tools(
        clock=clock,
        ids=ids,
        database=database,
        cache=cache,
        mac=MacKey(key_arns.mac),
        data_keys=DataKeys(key_arns.user),
        signing=SigningKeys(key_arns.signing),
        sealer=FixedKeys(),
        messages=Mailbox(),
        ratelimit=RateLimiter(cache, clock, ids, enabled=False),
    )
    database.close()
    cache.close()


@pytest.fixture
def identity(tools: Tools) -> IdentityService:
    """The identity service."""
    return IdentityService(tools)


@pytest.fixture
def someone(identity: IdentityService) -> Someone:
    """A cardholder without a second factor."""
    email = new_email()
    return Someone(identity.provision_user(email, PASSWORD, Role.CARDHOLDER, "Ada", "Lovelace"), email, None)


@pytest.fixture
def enrolled(identity: IdentityService) -> Someone:
    """A cardholder with an authenticator."""
    email, secret = new_email(), Secret(pyotp.random_base32())
    return Someone(identity.provision_user(email, PASSWORD, Role.CARDHOLDER, "Ada", "Lovelace", secret), email, secret)
