"""What each capability means in AWS: variables, grants, security groups and the service endpoints its calls go to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from aws_cdk import aws_iam as iam

from cardwright.kernel import environment as names
from cardwright.kernel.rows import Capability, Queue, Row
from infra.handles import Platform, SecretHandle
from infra.stages import LISTED, MAILTO, SES, Party, Stage


class Group(StrEnum):
    """Security groups a function may carry; each opens one way and no other."""

    DATABASE = "database"
    MIGRATIONS = "migrations"
    CACHE = "cache"
    ENDPOINTS = "endpoints"
    INTERNET = "internet"
    OUTBOUND = "outbound"


class Service(StrEnum):
    """AWS services with an interface endpoint in the network, by the name of the endpoint."""

    KMS = "kms"
    SECRETS = "secretsmanager"
    QUEUES = "sqs"
    OBJECTS = "s3"
    FUNCTIONS = "lambda"


@dataclass(frozen=True, slots=True)
class Reach:
    """Where calls of a capability go."""

    groups: frozenset[Group] = frozenset()
    services: frozenset[Service] = frozenset()


_KMS = Reach(frozenset({Group.ENDPOINTS}), frozenset({Service.KMS}))
_SECRET = Reach(frozenset({Group.ENDPOINTS}), frozenset({Service.SECRETS}))
_PARTY = Reach(frozenset({Group.ENDPOINTS, Group.INTERNET}), frozenset({Service.SECRETS}))

REACH: Mapping[Capability, Reach] = {
    Capability.DATABASE_APP: Reach(frozenset({Group.DATABASE})),
    Capability.DATABASE_WORKER: Reach(frozenset({Group.DATABASE})),
    Capability.DATABASE_MIGRATOR: Reach(frozenset({Group.MIGRATIONS})),
    Capability.CACHE: Reach(frozenset({Group.CACHE})),
    Capability.VAULT_KEY: _KMS,
    Capability.VAULT_DECRYPT: _KMS,
    Capability.USER_KEY: _KMS,
    Capability.SIGNING_KEY: _KMS,
    Capability.SIGNING_PUBLIC_KEY: _KMS,
    Capability.MAC_KEY: _KMS,
    Capability.SEALING_SECRET: _SECRET,
    Capability.EVENT_QUEUE: Reach(frozenset({Group.ENDPOINTS}), frozenset({Service.QUEUES})),
    Capability.DEAD_LETTERS: Reach(frozenset({Group.ENDPOINTS}), frozenset({Service.QUEUES})),
    Capability.EXPORTS: Reach(frozenset({Group.ENDPOINTS}), frozenset({Service.OBJECTS})),
    # A link is signed where it is made, and asked for by whoever holds it.
    Capability.EXPORT_LINKS: Reach(),
    Capability.PROCESSOR: _PARTY,
    Capability.PROCESSOR_INBOUND: _SECRET,
    Capability.KYC: _PARTY,
    Capability.KYC_INBOUND: _SECRET,
    Capability.MESSAGES: _PARTY,
    Capability.MESSAGES_INBOUND: _SECRET,
    Capability.WEBHOOK_SENDER: Reach(frozenset({Group.ENDPOINTS}), frozenset({Service.FUNCTIONS})),
    Capability.INTERNET: Reach(frozenset({Group.OUTBOUND})),
}

# Which secret a capability reads; its variable (the one that ends in _SECRET) holds the name.
SECRETS: Mapping[Capability, str] = {
    Capability.SEALING_SECRET: "sealing",
    Capability.PROCESSOR: "processor-api",
    Capability.PROCESSOR_INBOUND: "processor-inbound",
    Capability.KYC: "kyc-api",
    Capability.KYC_INBOUND: "kyc-inbound",
    Capability.MESSAGES: "messages-api",
    Capability.MESSAGES_INBOUND: "messages-inbound",
}
EVENT_QUEUE = "events"
NOTIFICATION_QUEUE = "notifications"
# libpq looks for authorities in one file: Amazon Linux's for the proxy (a public authority), our copy of RDS's for the cluster.
PROXY_AUTHORITIES = "/etc/pki/tls/certs/ca-bundle.crt"
CLUSTER_AUTHORITIES = "/var/task/certificates/rds.pem"


def groups(needs: Iterable[Capability]) -> frozenset[Group]:
    """Security groups of a function with these needs; none means that it stands outside the network.

    Raises ValueError when a function that posts to strangers' URLs asks for anything else.
    """
    found = frozenset(group for need in needs for group in REACH[need].groups)
    if Group.OUTBOUND in found and len(found) > 1:
        raise ValueError(f"who posts to strangers' URLs reaches nothing else, and not {', '.join(sorted(found))}")
    return found


def services(needs: Iterable[Capability]) -> frozenset[Service]:
    """AWS services a function with these needs calls through an endpoint."""
    return frozenset(service for need in needs for service in REACH[need].services)


def _address(host: str, user: str, database: str, authorities: str) -> str:
    """URL of a database without a password: that is what tells the connection to use an IAM token."""
    return f"postgresql://{user}@{host}:5432/{database}?sslmode=verify-full&sslrootcert={authorities}"


def _values(platform: Platform, stage: Stage) -> Mapping[Capability, tuple[str, ...]]:
    """Values of each capability's variables, in the order in which the kernel names them."""
    database, cache, keys = platform.database, platform.cache, platform.keys
    secret = {need: platform.secrets[name].name for need, name in SECRETS.items()}

    def party(need: Capability, settings: Party) -> tuple[str, ...]:
        return settings.adapter, settings.url, secret[need]

    return {
        Capability.DATABASE_APP: (_address(database.proxy_host, "app", database.name, PROXY_AUTHORITIES),),
        Capability.DATABASE_WORKER: (_address(database.proxy_host, "worker", database.name, PROXY_AUTHORITIES),),
        Capability.DATABASE_MIGRATOR: (_address(database.cluster_host, database.owner, database.name, CLUSTER_AUTHORITIES),),
        Capability.CACHE: (f"rediss://{cache.user}@{cache.host}:{cache.port}?iam={cache.name}",),
        Capability.VAULT_KEY: (",".join(keys.vault),),
        Capability.VAULT_DECRYPT: (",".join(keys.vault),),
        Capability.USER_KEY: (keys.user,),
        Capability.MAC_KEY: (keys.mac,),
        Capability.SIGNING_KEY: (",".join(keys.signing),),
        Capability.SIGNING_PUBLIC_KEY: (",".join(keys.signing),),
        Capability.SEALING_SECRET: (secret[Capability.SEALING_SECRET],),
        Capability.EVENT_QUEUE: (platform.queues[EVENT_QUEUE].url, platform.queues[NOTIFICATION_QUEUE].url),
        Capability.DEAD_LETTERS: (platform.queues[EVENT_QUEUE].url, platform.queues[NOTIFICATION_QUEUE].url),
        Capability.EXPORTS: (platform.exports.name,),
        Capability.EXPORT_LINKS: (platform.exports.name,),
        Capability.PROCESSOR: party(Capability.PROCESSOR, stage.processor),
        Capability.PROCESSOR_INBOUND: (secret[Capability.PROCESSOR_INBOUND],),
        Capability.KYC: party(Capability.KYC, stage.kyc),
        Capability.KYC_INBOUND: (secret[Capability.KYC_INBOUND],),
        Capability.MESSAGES: party(Capability.MESSAGES, stage.messages),
        Capability.MESSAGES_INBOUND: (secret[Capability.MESSAGES_INBOUND],),
        Capability.WEBHOOK_SENDER: (platform.webhook_sender,),
        Capability.INTERNET: (),
    }


def variables(row: Row, platform: Platform, stage: Stage) -> dict[str, str]:
    """Environment of a row's function, without what Lambda and Powertools add."""
    settings = {
        names.STAGE: stage.name,
        names.PUBLIC_URL: stage.public_url,
        names.CORS_ORIGINS: ",".join(stage.cors_origins),
        names.RATE_LIMITS: "on",
    }
    values = _values(platform, stage)
    for need in sorted(row.needs):
        settings.update(zip(names.VARIABLES[need], values[need], strict=True))
    return settings


@dataclass(frozen=True, slots=True)
class Grant:
    """Actions on resources, under conditions; or with `other_than` on what is none of those resources."""

    actions: frozenset[str]
    resources: tuple[str, ...] = ()
    conditions: Mapping[str, Mapping[str, str]] | None = None
    other_than: tuple[str, ...] = ()

    def statement(self) -> iam.PolicyStatement:
        """As a statement of a policy."""
        return iam.PolicyStatement(
            actions=sorted(self.actions),
            resources=list(self.resources) or None,
            not_resources=list(self.other_than) or None,
            conditions=self.conditions,
        )


_ENVELOPE = frozenset({"kms:GenerateDataKey", "kms:Encrypt", "kms:Decrypt"})
_CONSUME = frozenset({"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"})
_REDRIVE = frozenset(
    {
        "sqs:StartMessageMoveTask",
        "sqs:ListMessageMoveTasks",
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
    }
)
_SHA_256_MAC = {"StringEquals": {"kms:MacAlgorithm": "HMAC_SHA_256"}}
_RS256 = {"StringEquals": {"kms:SigningAlgorithm": "RSASSA_PKCS1_V1_5_SHA_256"}}


def _allow(*actions: str, on: Iterable[str], when: Mapping[str, Mapping[str, str]] | None = None) -> Grant:
    return Grant(frozenset(actions), tuple(on), when)


def _through(service: str, stage: Stage) -> Mapping[str, Mapping[str, str]]:
    return {"StringEquals": {"kms:ViaService": f"{service}.{stage.region}.amazonaws.com"}}


def _read_secret(secret: SecretHandle, platform: Platform, stage: Stage) -> tuple[Grant, ...]:
    return (
        _allow("secretsmanager:GetSecretValue", on=[secret.arn]),
        _allow("kms:Decrypt", on=[platform.keys.storage], when=_through("secretsmanager", stage)),
    )


def _connect(stage: Stage, resource_id: str, user: str) -> tuple[Grant, ...]:
    return (_allow("rds-db:connect", on=[f"arn:aws:rds-db:{stage.region}:{stage.account}:dbuser:{resource_id}/{user}"]),)


def _send(platform: Platform, stage: Stage) -> tuple[Grant, ...]:
    """Messages go through SES in the role's own name, or to parties that know us by a secret; listed ones may be either."""
    known = _read_secret(platform.secrets[SECRETS[Capability.MESSAGES]], platform, stage)
    if stage.messages.adapter not in (SES, LISTED):
        return known
    sender = stage.messages.url.removeprefix(MAILTO)
    ours = f"arn:aws:ses:{stage.region}:{stage.account}"
    # SES may know the sender as an address or as a domain. Bounces are told of through the set of the stage's name.
    on = [f"{ours}:identity/{sender}", f"{ours}:identity/{sender.split('@')[1]}"]
    named = {"StringEquals": {"ses:FromAddress": sender}}
    if stage.messages.adapter == SES:
        return (_allow("ses:SendEmail", on=on, when=named),)
    mail = _allow("ses:SendEmail", on=[*on, f"{ours}:configuration-set/{stage.prefix}"], when=named)
    # A telephone number is no resource: what is left out are topics, the only resources this action knows.
    texts = Grant(frozenset({"sns:Publish"}), other_than=("arn:aws:sns:*:*:*",))
    return (*known, mail, texts)


def _grants(platform: Platform, stage: Stage) -> Mapping[Capability, tuple[Grant, ...]]:
    keys, database, cache = platform.keys, platform.database, platform.cache
    return {
        **{need: _read_secret(platform.secrets[name], platform, stage) for need, name in SECRETS.items()},
        Capability.MESSAGES: _send(platform, stage),
        Capability.DATABASE_APP: _connect(stage, database.proxy_id, "app"),
        Capability.DATABASE_WORKER: _connect(stage, database.proxy_id, "worker"),
        Capability.DATABASE_MIGRATOR: _connect(stage, database.cluster_id, database.owner),
        Capability.CACHE: (_allow("elasticache:Connect", on=[cache.arn, cache.user_arn]),),
        # The first key encrypts, and who encrypts reads nothing back: a number is read to be encrypted anew, under whichever key.
        Capability.VAULT_KEY: (_allow("kms:GenerateDataKey", on=keys.vault[:1]),),
        Capability.VAULT_DECRYPT: (_allow("kms:Decrypt", on=keys.vault),),
        Capability.USER_KEY: (Grant(_ENVELOPE, (keys.user,)),),
        Capability.MAC_KEY: (_allow("kms:GenerateMac", "kms:VerifyMac", on=[keys.mac], when=_SHA_256_MAC),),
        # The first key signs; the others only verify until the last token they signed has expired.
        Capability.SIGNING_KEY: (
            _allow("kms:Sign", on=keys.signing[:1], when=_RS256),
            _allow("kms:GetPublicKey", on=keys.signing),
        ),
        Capability.SIGNING_PUBLIC_KEY: (_allow("kms:GetPublicKey", on=keys.signing),),
        Capability.EVENT_QUEUE: (
            _allow("sqs:SendMessage", on=[platform.queues[name].arn for name in (EVENT_QUEUE, NOTIFICATION_QUEUE)]),
            _allow("kms:GenerateDataKey", "kms:Decrypt", on=[keys.storage], when=_through("sqs", stage)),
        ),
        # A move runs in the name of who starts it: it reads and deletes there, and sends here.
        Capability.DEAD_LETTERS: (
            Grant(_REDRIVE, tuple(queue.dead_arn for _, queue in sorted(platform.queues.items()))),
            _allow("sqs:SendMessage", "sqs:GetQueueAttributes", on=[queue.arn for _, queue in sorted(platform.queues.items())]),
            _allow("kms:GenerateDataKey", "kms:Decrypt", on=[keys.storage], when=_through("sqs", stage)),
        ),
        # Parts are encrypted under the bucket's key, and read again when an upload is taken on by another run.
        Capability.EXPORTS: (
            _allow("s3:PutObject", "s3:AbortMultipartUpload", "s3:GetObject", on=[exported_objects(platform)]),
            _allow("kms:GenerateDataKey", "kms:Decrypt", on=[keys.storage], when=_through("s3", stage)),
        ),
        # Whoever holds a link reads in the name of the function that signed it.
        Capability.EXPORT_LINKS: (
            _allow("s3:GetObject", on=[exported_objects(platform)]),
            _allow("kms:Decrypt", on=[keys.storage], when=_through("s3", stage)),
        ),
        Capability.WEBHOOK_SENDER: (_allow("lambda:InvokeFunction", on=[platform.webhook_sender]),),
        Capability.INTERNET: (),
    }


def exported_objects(platform: Platform) -> str:
    """The objects of exports: each is made by a job, under the job's id."""
    return f"{platform.exports.arn}/transactions/*"


def grants(row: Row, platform: Platform, stage: Stage) -> list[iam.PolicyStatement]:
    """What a row's function may do: what its capabilities mean, and for a queue's consumer to read that queue."""
    table = _grants(platform, stage)
    wanted = [grant for need in sorted(row.needs) for grant in table[need]]
    if isinstance(row, Queue):
        wanted.append(Grant(_CONSUME, (platform.queues[row.queue].arn,)))
        wanted.append(_allow("kms:Decrypt", on=[platform.keys.storage], when=_through("sqs", stage)))
    return [grant.statement() for grant in wanted]
