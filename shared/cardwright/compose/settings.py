"""The only reader of environment variables."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from cardwright.kernel import environment
from cardwright.kernel.errors import BrokenInvariantError
from cardwright.kernel.rows import Capability


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for every function of a stage."""

    stage: str
    public_url: str
    cors_origins: frozenset[str]
    rate_limits: bool
    clock_file: str | None
    # Where this platform answers besides, on the local stage.
    other_urls: tuple[str, ...] = ()

    @property
    def local(self) -> bool:
        """True on a laptop."""
        return self.stage == "local"

    @property
    def own_urls(self) -> tuple[str, ...]:
        """URLs whose hosts and ports lead to this platform itself."""
        return (self.public_url, *self.other_urls)


@cache
def settings() -> Settings:
    """Read the settings; raises BrokenInvariantError naming a missing variable."""
    return read(os.environ)


def read(variables: Mapping[str, str]) -> Settings:
    """Read the settings from a mapping. The advancing clock and switched-off quotas exist on the local stage alone."""
    stage = _required(variables, environment.STAGE)
    local = stage == "local"
    return Settings(
        stage=stage,
        public_url=_required(variables, environment.PUBLIC_URL).rstrip("/"),
        cors_origins=frozenset(origin for origin in variables.get(environment.CORS_ORIGINS, "").split(",") if origin),
        rate_limits=not (local and variables.get(environment.RATE_LIMITS) == "off"),
        clock_file=variables.get(environment.CLOCK_FILE) if local else None,
        other_urls=tuple(url for url in variables.get(environment.OTHER_URLS, "").split(",") if url) if local else (),
    )


def variable(capability: Capability, name: str) -> str:
    """A capability's variable. Raises BrokenInvariantError when the capability does not bring it or it is not set."""
    if name not in environment.VARIABLES[capability]:
        raise BrokenInvariantError(f"{name} does not belong to {capability}")
    return _required(os.environ, name)


def processor_in_prod() -> str | None:
    """The issuer processor that prod's functions are told of; None on another stage, and where no variables are set yet."""
    named = os.environ.get("CARDWRIGHT_PROCESSOR") or None
    return named if os.environ.get(environment.STAGE) == "prod" else None


def secrets_extension() -> tuple[int, str] | None:
    """Port and token of the Parameters and Secrets extension in this function's sandbox; None where it cannot be used.

    It compares with AWS_SESSION_TOKEN, which does not exist under SnapStart (docs/decisions/0017).
    """
    port, token = os.environ.get("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT"), os.environ.get("AWS_SESSION_TOKEN")
    return (int(port), token) if port and token else None


def initialization_type() -> str:
    """How Lambda started this sandbox: on-demand, provisioned-concurrency or snap-start; empty outside Lambda."""
    return os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE", "")


def region() -> str:
    """The AWS region the function runs in."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def container_credentials() -> tuple[str, str] | None:
    """URI and authorization token of the role's keys; None where the keys themselves are variables, which every SDK prefers."""
    uri = os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if not uri or os.environ.get("AWS_ACCESS_KEY_ID"):
        return None
    return uri, os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")


def credentials() -> tuple[str, str, str | None]:
    """Access key id, secret key and session token of the function's role, where they are variables."""
    return (
        _required(os.environ, "AWS_ACCESS_KEY_ID"),
        _required(os.environ, "AWS_SECRET_ACCESS_KEY"),
        os.environ.get("AWS_SESSION_TOKEN"),
    )


def _required(variables: Mapping[str, str], name: str) -> str:
    value = variables.get(name, "")
    if not value:
        raise BrokenInvariantError(f"the environment variable {name} is not set")
    return value
