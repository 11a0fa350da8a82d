"""What the stateful stacks hand to the functions: names, addresses and ARNs, most of them known at deployment only."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """ARNs of the keys in KMS."""

    vault: tuple[str, ...]
    user: str
    mac: str
    signing: tuple[str, ...]
    storage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretHandle:
    """A secret's name, which functions are told, and its ARN, which grants name."""

    name: str
    arn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueHandle:
    """Where a queue is, and where what its consumer gives up goes."""

    url: str
    arn: str
    dead_arn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketHandle:
    """A bucket's name, which functions are told, and its ARN, which grants name."""

    name: str
    arn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseHandle:
    """The proxy functions go through and the cluster behind it; ids are what IAM calls them."""

    name: str
    owner: str
    proxy_host: str
    proxy_id: str
    cluster_host: str
    cluster_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheHandle:
    """The cache and the user functions sign in as."""

    name: str
    host: str
    port: str
    arn: str
    user: str
    user_arn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """All of it."""

    keys: Keys
    secrets: Mapping[str, SecretHandle]
    queues: Mapping[str, QueueHandle]
    exports: BucketHandle
    database: DatabaseHandle
    cache: CacheHandle
    # ARN of the alias of the function that posts to subscribers.
    webhook_sender: str
