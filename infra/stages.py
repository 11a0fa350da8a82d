"""Typed settings of each stage. Synthesis needs no account: without one in the environment, fixed placeholders stand in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

PLACEHOLDER_ACCOUNT = "111111111111"
DEFAULT_REGION = "us-east-1"
SES = "ses"
# Providers by channel, in the order of failover, as the secret `messages-api` lists them.
LISTED = "listed"
MAILTO = "mailto:"
SIMULATED = "simulated"
# Where a processor answers unless the environment says so; Marqeta's address is each customer's own.
PROCESSORS = {"lithic": "https://api.lithic.com", "stripe": "https://api.stripe.com", "marqeta": None}
# Held equal to cardwright.providers.proven by tests/house/test_providers.py: only compose may name a provider.
PROVEN_PROCESSORS = frozenset({"lithic"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """An outside party: which adapter speaks to it (a name compose knows) and where it answers."""

    adapter: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything that differs, or may differ, between stages."""

    name: str
    account: str
    region: str
    zones: int
    nat_gateways: int
    # Stateful stacks are protected everywhere: a shared dev stage is somebody's work too.
    termination_protection: bool = True
    # Every object written to the evidence bucket is locked, in COMPLIANCE mode, for this long; nobody can undo it.
    evidence_days: int
    log_days: int
    # Deleting a person means destroying their data key; backups that still hold it must be gone within a week.
    backup_days: int = 7
    database_version: str = "17.7"
    database_capacity: tuple[float, float]
    database_readers: int
    cache_storage_gb: int
    cache_ecpu_per_second: int
    provisioned_at_most: int
    signing_keys: tuple[str, ...] = ("1",)
    # Names of keys of card numbers: the first encrypts, all decrypt (docs/operations/deploy.md, rotating).
    vault_keys: tuple[str, ...] = ("vault",)
    domain: str
    certificate_arn: str | None = None
    cors_origins: tuple[str, ...]
    alarm_email: str | None = None
    requests_per_minute_and_address: int = 2000
    api_requests_per_second: int
    api_burst: int
    processor: Party
    kyc: Party
    messages: Party

    @property
    def public_url(self) -> str:
        """Where clients find the API; also the issuer of access tokens, so it has to outlive any one deployment."""
        return f"https://{self.domain}"

    @property
    def availability_zones(self) -> list[str]:
        """Explicit zones: a lookup would need an account."""
        return [self.region + letter for letter in "abc"[: self.zones]]

    @property
    def prefix(self) -> str:
        """What names of this stage's resources begin with."""
        return f"cardwright-{self.name}"


def _simulated(name: str, domain: str) -> Party:
    """A stand-in of ours, run beside the stage."""
    return Party(adapter=SIMULATED, url=f"https://{name}.{domain}")


def _mail(sender: str, adapter: str = SES) -> Party:
    """Mail from one sender, whose domain or address is verified: through Amazon SES alone, or as a secret lists providers."""
    return Party(adapter=adapter, url=f"{MAILTO}{sender}")


_DEV = Stage(
    name="dev",
    account=PLACEHOLDER_ACCOUNT,
    region=DEFAULT_REGION,
    zones=2,
    nat_gateways=1,
    evidence_days=1,
    log_days=30,
    database_capacity=(0.5, 4),
    database_readers=0,
    cache_storage_gb=1,
    cache_ecpu_per_second=5_000,
    provisioned_at_most=1,
    domain="api.dev.cardwright.example",
    cors_origins=("https://console.dev.cardwright.example",),
    api_requests_per_second=200,
    api_burst=400,
    processor=_simulated("processor", "dev.cardwright.example"),
    kyc=_simulated("kyc", "dev.cardwright.example"),
    messages=_mail("no-reply@dev.cardwright.example"),
)
_PROD = Stage(
    name="prod",
    account=PLACEHOLDER_ACCOUNT,
    region=DEFAULT_REGION,
    zones=3,
    nat_gateways=3,
    evidence_days=2557,
    log_days=365,
    database_capacity=(2, 64),
    database_readers=1,
    cache_storage_gb=50,
    cache_ecpu_per_second=100_000,
    provisioned_at_most=1_000,
    domain="api.cardwright.example",
    cors_origins=("https://console.cardwright.example",),
    api_requests_per_second=5_000,
    api_burst=5_000,
    processor=Party(adapter="lithic", url="https://api.lithic.com"),
    kyc=_simulated("kyc", "cardwright.example"),
    messages=_mail("no-reply@cardwright.example"),
)
NAMES = (_DEV.name, _PROD.name)

_ACCOUNT = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
_DOMAIN = re.compile(r"([a-z0-9-]+\.)+[a-z]{2,}")
_URL = re.compile(r"https://[a-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._-]+)*/?")


def _processor(stage: Stage, adapter: str | None, url: str | None) -> Party:
    """The issuer processor as the environment names it.

    Raises ValueError for what cannot be meant, and for prod when no contract test proves the adapter.
    """
    named = adapter or stage.processor.adapter
    otherwise = stage.processor.url if named == stage.processor.adapter else PROCESSORS.get(named)
    if named != SIMULATED and named not in PROCESSORS:
        raise ValueError(f"stage {stage.name}: there is no processor {named!r}")
    if stage.name == _PROD.name and named not in PROVEN_PROCESSORS:
        raise ValueError(f"stage {stage.name}: the adapter of the processor {named!r} is unproven")
    where = url or otherwise
    if where is None or not _URL.fullmatch(where):
        raise ValueError(f"stage {stage.name}: {where!r} is no address of a processor")
    return Party(adapter=named, url=where)


def _messages(stage: Stage, adapter: str | None, sender: str | None) -> Party:
    """The channels of messages as the environment names them. Raises ValueError for what cannot be meant."""
    named = adapter or stage.messages.adapter
    if named not in (SES, LISTED):
        raise ValueError(f"stage {stage.name}: there are no message channels {named!r}")
    return _mail(sender or stage.messages.url.removeprefix(MAILTO), named)


def load(name: str, environ: Mapping[str, str]) -> Stage:
    """The stage `name` with what the environment says about it (see docs/operations/deploy.md).

    Read: CARDWRIGHT_<STAGE>_ACCOUNT, _REGION, _DOMAIN, _CERTIFICATE_ARN, _CORS_ORIGINS (comma separated), _ALARM_EMAIL,
    _MAIL_SENDER, _MESSAGES (`ses` or `listed`), _PROCESSOR (an adapter's name), _PROCESSOR_URL.
    Where account or region is not said: CDK_DEFAULT_ACCOUNT and CDK_DEFAULT_REGION, which CDK's command line sets.
    Raises ValueError for an unknown stage or a value that cannot be meant.
    """
    stages = {stage.name: stage for stage in (_DEV, _PROD)}
    if name not in stages:
        raise ValueError(f"there is no stage {name!r}; there are {', '.join(stages)}")
    stage = stages[name]

    def said(what: str, otherwise: str | None = None) -> str | None:
        return environ.get(f"CARDWRIGHT_{name.upper()}_{what}") or otherwise

    account = said("ACCOUNT", environ.get("CDK_DEFAULT_ACCOUNT")) or stage.account
    region = said("REGION", environ.get("CDK_DEFAULT_REGION")) or stage.region
    domain = said("DOMAIN") or stage.domain
    origins = said("CORS_ORIGINS")
    for value, pattern, what in ((account, _ACCOUNT, "account"), (region, _REGION, "region"), (domain, _DOMAIN, "domain")):
        if not pattern.fullmatch(value):
            raise ValueError(f"stage {name}: {value!r} is no {what}")
    return replace(
        stage,
        account=account,
        region=region,
        domain=domain,
        certificate_arn=said("CERTIFICATE_ARN"),
        alarm_email=said("ALARM_EMAIL"),
        processor=_processor(stage, said("PROCESSOR"), said("PROCESSOR_URL")),
        messages=_messages(stage, said("MESSAGES"), said("MAIL_SENDER")),
        cors_origins=tuple(o.strip() for o in origins.split(",")) if origins else stage.cors_origins,
    )
