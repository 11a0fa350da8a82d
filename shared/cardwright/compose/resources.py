"""What one process shares, light enough for the authorization path: clock, ids, databases, cache, secrets."""

import importlib
from functools import cache, lru_cache
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cardwright.compose import settings as environment
from cardwright.compose.settings import settings
from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import BrokenInvariantError
from cardwright.kernel.rows import Capability
from cardwright.kernel.secret import Secret
from cardwright.platform.cache import Cache
from cardwright.platform.clock import OffsetClock, SystemClock
from cardwright.platform.credentials import ContainerCredentials
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Database
from cardwright.platform.secrets import ExtensionStore, SecretStore
from cardwright.platform.sigv4 import Credentials, elasticache_token, rds_token

_DATABASES = {
    Capability.DATABASE_APP: "CARDWRIGHT_DATABASE_APP",
    Capability.DATABASE_WORKER: "CARDWRIGHT_DATABASE_WORKER",
    Capability.DATABASE_MIGRATOR: "CARDWRIGHT_DATABASE_MIGRATOR",
}


@cache
def clock() -> Clock:
    """The clock of this process: the system's, or the local stage's advancing one."""
    file = settings().clock_file
    return OffsetClock(Path(file)) if file else SystemClock()


@cache
def ids() -> IdSource:
    """The source of identifiers."""
    return IdSource(clock())


@cache
def secrets() -> SecretStore:
    """Secrets over the extension's local HTTP, or from Secrets Manager where there is no extension to use."""
    extension = environment.secrets_extension()
    if extension is not None:
        return ExtensionStore(*extension)
    # By name: the authorization path always has the extension, and an import of the SDK would weigh on it.
    store: SecretStore = importlib.import_module("cardwright.platform.secrets_manager").SecretsManagerStore()
    return store


@cache
def database(capability: Capability, budget_s: float = 4.0) -> Database:
    """The database under the capability's role."""
    return Database(lambda: conninfo(capability), budget_s=budget_s)


def conninfo(capability: Capability) -> str:
    """Connection string; a URL without a password gets a fresh IAM token (valid 15 minutes, needed only to connect)."""
    url = environment.variable(capability, _DATABASES[capability])
    parts = urlsplit(url)
    if parts.password is not None:
        return url
    host, port, user = parts.hostname or "", parts.port or 5432, parts.username or ""
    token = rds_token(_credentials(), environment.region(), host, port, user, SystemClock().now())
    address = f"host={host} port={port} user={user} dbname={parts.path.lstrip('/')}"
    authorities = parse_qs(parts.query).get("sslrootcert", ["system"])[0]
    return f"{address} password='{token}' sslmode=verify-full sslrootcert={authorities}"


@cache
def cache_client(budget_s: float = 0.05) -> Cache:
    """Valkey. `?iam=<cache name>` in the URL asks for short-lived credentials."""
    url = environment.variable(Capability.CACHE, "CARDWRIGHT_CACHE_URL")
    parts = urlsplit(url)
    iam = parse_qs(parts.query).get("iam")
    if not iam:
        return Cache(url, budget_s=budget_s)
    user = parts.username or ""
    return Cache(
        url,
        budget_s=budget_s,
        credentials=lambda: (
            user,
            elasticache_token(_credentials(), environment.region(), iam[0], user, SystemClock().now()),
        ),
    )


def api_key(secret_name: str) -> Secret[str]:
    """A provider's API key, {"api_key": ...} in Secrets Manager. Raises UnavailableError, BrokenInvariantError."""
    value = secrets().get(secret_name).reveal().get("api_key")
    if not isinstance(value, str) or not value:
        raise BrokenInvariantError("a provider's secret has not the shape it must have")
    return Secret(value)


@lru_cache(maxsize=8)
def _secrets_of(listed: tuple[str, ...]) -> tuple[Secret[str], ...]:
    """Made once for as long as they are the same: a decision asks for them twice."""
    return tuple(Secret(secret) for secret in listed)


def signing_secrets(secret_name: str) -> list[Secret[str]]:
    """What a party signs its requests with, several while they rotate; the secret is {"secrets": ["whsec_..."]}.

    Raises UnavailableError.
    """
    listed = secrets().get(secret_name).reveal().get("secrets")
    if not isinstance(listed, list) or not listed:
        raise BrokenInvariantError("an inbound secret has not the shape it must have")
    return list(_secrets_of(tuple(map(str, listed))))


@cache
def _container_credentials(uri: str, token: str) -> ContainerCredentials:
    return ContainerCredentials(uri, token, SystemClock())


def _credentials() -> Credentials:
    """Keys of the function's role. Raises UnavailableError, BrokenInvariantError."""
    container = environment.container_credentials()
    if container is not None:
        return _container_credentials(*container).get()
    access_key, secret_key, session_token = environment.credentials()
    return Credentials(access_key, secret_key, session_token)


def forget_connections() -> None:
    """After a snapshot is restored: connections and secrets taken at build time are not this sandbox's."""
    for held in (secrets, _container_credentials, database, cache_client):
        held.cache_clear()
