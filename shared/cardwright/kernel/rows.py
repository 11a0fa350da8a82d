"""Rows of the function catalogue: one frozen row per Lambda, read by the endpoint, infra, the local host, OpenAPI and tests."""

from dataclasses import dataclass, field
from enum import StrEnum

API_PREFIX = "/api/v1"


class Capability(StrEnum):
    """What a function may reach. infra turns each into grants, variables and endpoints; compose refuses one not asked for."""

    DATABASE_APP = "database_app"
    DATABASE_WORKER = "database_worker"
    DATABASE_MIGRATOR = "database_migrator"
    CACHE = "cache"
    VAULT_KEY = "vault_key"
    VAULT_DECRYPT = "vault_decrypt"
    USER_KEY = "user_key"
    SIGNING_KEY = "signing_key"
    SIGNING_PUBLIC_KEY = "signing_public_key"
    MAC_KEY = "mac_key"
    SEALING_SECRET = "sealing_secret"  # noqa: S105 - the name of a capability
    EVENT_QUEUE = "event_queue"
    DEAD_LETTERS = "dead_letters"
    EXPORTS = "exports"
    EXPORT_LINKS = "export_links"
    PROCESSOR = "processor"
    PROCESSOR_INBOUND = "processor_inbound"
    KYC = "kyc"
    KYC_INBOUND = "kyc_inbound"
    MESSAGES = "messages"
    MESSAGES_INBOUND = "messages_inbound"
    WEBHOOK_SENDER = "webhook_sender"
    # URLs that strangers chose. Parties we know are reached by their own capabilities.
    INTERNET = "internet"


class Role(StrEnum):
    """Roles of people (CONTRACT section 2)."""

    CARDHOLDER = "cardholder"
    MERCHANT = "merchant"
    SUPPORT = "support"
    ADMIN = "admin"
    COMPLIANCE_OFFICER = "compliance_officer"


ANY_ROLE = frozenset(Role)
STAFF = frozenset({Role.SUPPORT, Role.ADMIN, Role.COMPLIANCE_OFFICER})


class Audience(StrEnum):
    """Who may call: anyone, a signed-in user, or a party that signs its requests."""

    PUBLIC = "public"
    USER = "user"
    SIGNED = "signed"


class RateClass(StrEnum):
    """Which quotas a call spends: those of its caller, beside them that of logins (counted by identity, by account), or none."""

    DEFAULT = "default"
    LOGIN = "login"
    NONE = "none"


class Idempotency(StrEnum):
    """Whether `Idempotency-Key` is required, honoured when sent, or ignored."""

    REQUIRED = "required"
    HONOURED = "honoured"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What every function has: its name (= module name), domain (= package), needs, timeout in seconds, memory in MB."""

    name: str
    domain: str
    needs: frozenset[Capability] = frozenset()
    timeout_s: int = 29
    memory_mb: int = 512
    summary: str = ""

    @property
    def module(self) -> str:
        """Import path of the module that holds `handler`."""
        return f"functions.{self.domain}.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Http(Row):
    """A REST endpoint behind API Gateway. `path` is below API_PREFIX unless `root` is set."""

    method: str
    path: str
    audience: Audience = Audience.USER
    roles: frozenset[Role] = ANY_ROLE
    step_up: bool = False
    rate: RateClass = RateClass.DEFAULT
    idempotency: Idempotency = Idempotency.IGNORED
    body_limit: int = 256 * 1024
    root: bool = False
    local_only: bool = False
    tags: tuple[str, ...] = field(default=())

    @property
    def full_path(self) -> str:
        """The path from the host's root, e.g. /api/v1/cards/{card_id}."""
        return self.path if self.root else API_PREFIX + self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Url(Row):
    """A Lambda Function URL for signed machine traffic; `path` is where REST routes the same handler."""

    path: str
    body_limit: int = 256 * 1024
    provisioned_concurrency: int = 0
    reserved_concurrency: int = 0

    @property
    def full_path(self) -> str:
        """The path from the host's root."""
        return API_PREFIX + self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue(Row):
    """An SQS consumer with partial batch responses. `queue` is the logical name, `max_receives` leads to its DLQ."""

    queue: str
    batch_size: int = 10
    max_receives: int = 5
    visibility_s: int = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule(Row):
    """A function started at a fixed rate, in seconds (EventBridge's finest is 60)."""

    every_s: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(Row):
    """A function invoked by the deployment, an operator or another function. `reserved_concurrency` is also its most."""

    reserved_concurrency: int = 0


# What every endpoint for signed-in users needs: sessions and data, quotas, token checks, sealed idempotency bodies and cursors.
SIGNED_IN: frozenset[Capability] = frozenset(
    {Capability.DATABASE_APP, Capability.CACHE, Capability.SIGNING_PUBLIC_KEY, Capability.SEALING_SECRET}
)
