"""What each capability means in AWS: variables, grants, security groups and the service endpoints its calls go to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from aws_cdk import aws_iam as iam

from cardwright.kernel import environment as names
from cardwright.kernel.rows import Capability, Queue, Row
from infra.handles import Platform, SecretHandle
from infra.stages import Party, Stage


class Group(StrEnum):
    """Security groups a function may carry; each opens one way and no other."""

    DATABASE = "database"
    MIGRATIONS = "migrations"
    CACHE = "cache"
    ENDPOINTS = "endpoints"
    INTERNET = "internet"


class Service(StrEnum):
    """AWS services with an interface endpoint in the network, by the name of the endpoint."""

    KMS = "kms"
    SECRETS = "secretsmanager"
    QUEUES = "sqs"


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
    Capability.USER_KEY: _KMS,
    Capability.SIGNING_KEY: _KMS,
    Capability.SIGNING_PUBLIC_KEY: _KMS,
    Capability.MAC_KEY: _KMS,
    Capability.SEALING_SECRET: _SECRET,
    Capability.EVENT_QUEUE: Reach(frozenset({Group.ENDPOINTS}), frozenset({Service.QUEUES})),
    Capability.PROCESSOR: _PARTY,
    Capability.PROCESSOR_INBOUND: _SECRET,
    Capability.KYC: _PARTY,
    Capability.KYC_INBOUND: _SECRET,
    Capability.MESSAGES: _PARTY,
    Capability.INTERNET: Reach(frozenset({Group.INTERNET})),
}

# Which secret a capability reads; its variable (the one that ends in _SECRET) holds the name.
SECRETS: Mapping[Capability, str] = {
    Capability.SEALING_SECRET: "sealing",
    Capability.PROCESSOR: "processor-api",
    Capability.PROCESSOR_INBOUND: "processor-inbound",
    Capability.KYC: "kyc-api",
    Capability.KYC_INBOUND: "kyc-inbound",
    Capability.MESSAGES: "messages-api",
}
EVENT_QUEUE = "events"
# libpq looks for authorities in one file: Amazon Linux's for the proxy (a public authority), our copy of RDS's for the cluster.
PROXY_AUTHORITIES = "/etc/pki/tls/certs/ca-bundle.crt"
CLUSTER_AUTHORITIES = "/var/task/certificates/rds.pem"


def groups(needs: Iterable[Capability]) -> frozenset[Group]:
    """Security groups of a function with these needs; none means that it stands outside the network."""
    return frozenset(group for need in needs for group in REACH[need].groups)


def services(needs: Iterable[Capability]) -> frozenset[Service]:
    """AWS services a function with these needs calls through an endpoint."""
    return frozenset(service for need in needs for service in REACH[need].services)


def _conninfo(host: str, user: str, database: str, authorities: str) -> str:
    """libpq conninfo without a password: that is what tells the connection to use an IAM token."""
    return f"host={host} port=5432 dbname={database} user={user} sslmode=verify-full sslrootcert={authorities}"


def _values(need: Capability, platform: Platform, stage: Stage) -> tuple[str, ...]:
    """Values of a capability's variables, in the order in which the kernel names them."""
    database, cache, keys = platform.database, platform.cache, platform.keys

    def party(settings: Party) -> tuple[str, ...]:
        return settings.adapter, settings.url, platform.secrets[SECRETS[need]].name

    match need:
        case Capability.DATABASE_APP:
            return (_conninfo(database.proxy_host, "app", database.name, PROXY_AUTHORITIES),)
        case Capability.DATABASE_WORKER:
            return (_conninfo(database.proxy_host, "worker", database.name, PROXY_AUTHORITIES),)
        case Capability.DATABASE_MIGRATOR:
            return (_conninfo(database.cluster_host, database.owner, database.name, CLUSTER_AUTHORITIES),)
        case Capability.CACHE:
            return (f"rediss://{cache.user}@{cache.host}:{cache.port}?iam={cache.name}",)
        case Capability.VAULT_KEY:
            return (keys.vault,)
        case Capability.USER_KEY:
            return (keys.user,)
        case Capability.MAC_KEY:
            return (keys.mac,)
        case Capability.SIGNING_KEY | Capability.SIGNING_PUBLIC_KEY:
            return (",".join(keys.signing),)
        case Capability.SEALING_SECRET | Capability.PROCESSOR_INBOUND | Capability.KYC_INBOUND:
            return (platform.secrets[SECRETS[need]].name,)
        case Capability.EVENT_QUEUE:
            return (platform.queues[EVENT_QUEUE].url,)
        case Capability.PROCESSOR:
            return party(stage.processor)
        case Capability.KYC:
            return party(stage.kyc)
        case Capability.MESSAGES:
            return party(stage.messages)
        case Capability.INTERNET:
            return ()


def variables(row: Row, platform: Platform, stage: Stage) -> dict[str, str]:
    """Environment of a row's function, without what Lambda and Powertools add."""
    settings = {
        names.STAGE: stage.name,
        names.PUBLIC_URL: stage.public_url,
        names.CORS_ORIGINS: ",".join(stage.cors_origins),
        names.RATE_LIMITS: "on",
    }
    for need in sorted(row.needs):
        settings.update(zip(names.VARIABLES[need], _values(need, platform, stage), strict=True))
    return settings


def _allow(
    actions: Iterable[str], resources: Iterable[str], conditions: Mapping[str, object] | None = None
) -> iam.PolicyStatement:
    return iam.PolicyStatement(actions=sorted(actions), resources=list(resources), conditions=conditions)


def _through(service: str, stage: Stage) -> Mapping[str, object]:
    return {"StringEquals": {"kms:ViaService": f"{service}.{stage.region}.amazonaws.com"}}


def _read_secret(secret: SecretHandle, platform: Platform, stage: Stage) -> list[iam.PolicyStatement]:
    return [
        _allow({"secretsmanager:GetSecretValue"}, [secret.arn]),
        _allow({"kms:Decrypt"}, [platform.keys.storage], _through("secretsmanager", stage)),
    ]


def _connect(stage: Stage, resource_id: str, user: str) -> list[iam.PolicyStatement]:
    return [_allow({"rds-db:connect"}, [f"arn:aws:rds-db:{stage.region}:{stage.account}:dbuser:{resource_id}/{user}"])]


def _grants_of(need: Capability, platform: Platform, stage: Stage) -> list[iam.PolicyStatement]:
    keys, database, cache = platform.keys, platform.database, platform.cache
    envelope = {"kms:GenerateDataKey", "kms:Encrypt", "kms:Decrypt"}
    match need:
        case Capability.DATABASE_APP:
            return _connect(stage, database.proxy_id, "app")
        case Capability.DATABASE_WORKER:
            return _connect(stage, database.proxy_id, "worker")
        case Capability.DATABASE_MIGRATOR:
            return _connect(stage, database.cluster_id, database.owner)
        case Capability.CACHE:
            return [_allow({"elasticache:Connect"}, [cache.arn, cache.user_arn])]
        case Capability.VAULT_KEY:
            return [_allow(envelope, [keys.vault])]
        case Capability.USER_KEY:
            return [_allow(envelope, [keys.user])]
        case Capability.MAC_KEY:
            only = {"StringEquals": {"kms:MacAlgorithm": "HMAC_SHA_256"}}
            return [_allow({"kms:GenerateMac", "kms:VerifyMac"}, [keys.mac], only)]
        case Capability.SIGNING_KEY:
            # The first key signs; the others only verify until the last token they signed has expired.
            only = {"StringEquals": {"kms:SigningAlgorithm": "RSASSA_PKCS1_V1_5_SHA_256"}}
            return [_allow({"kms:Sign"}, keys.signing[:1], only), _allow({"kms:GetPublicKey"}, keys.signing)]
        case Capability.SIGNING_PUBLIC_KEY:
            return [_allow({"kms:GetPublicKey"}, keys.signing)]
        case Capability.EVENT_QUEUE:
            return [
                _allow({"sqs:SendMessage"}, [platform.queues[EVENT_QUEUE].arn]),
                _allow({"kms:GenerateDataKey", "kms:Decrypt"}, [keys.storage], _through("sqs", stage)),
            ]
        case Capability.INTERNET:
            return []
        case _:
            return _read_secret(platform.secrets[SECRETS[need]], platform, stage)


def grants(row: Row, platform: Platform, stage: Stage) -> list[iam.PolicyStatement]:
    """What a row's function may do: what its capabilities mean, and for a queue's consumer to read that queue."""
    statements = [statement for need in sorted(row.needs) for statement in _grants_of(need, platform, stage)]
    if isinstance(row, Queue):
        consume = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"}
        statements.append(_allow(consume, [platform.queues[row.queue].arn]))
        statements.append(_allow({"kms:Decrypt"}, [platform.keys.storage], _through("sqs", stage)))
    return statements
