"""Clients of the AWS SDK: one per service in a process, made under a lock, as boto3's sessions are not for many threads."""

import threading
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_kms import KMSClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ses import SESClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

# Short deadlines and few retries of the SDK's own, because callers have budgets; a connection for each thread of a local host.
_CONFIG = Config(
    connect_timeout=2,
    read_timeout=5,
    retries={"total_max_attempts": 3, "mode": "standard"},
    max_pool_connections=50,
)
# S3 is asked by workers that move megabytes, and joins the parts of an upload in one call. Its endpoint in the network answers to
# the region's own name, links are signed as SSE-KMS wants them, and checksums are the caller's to send.
_CONFIGS = {
    "s3": _CONFIG.merge(
        Config(
            read_timeout=30,
            signature_version="s3v4",
            s3={"us_east_1_regional_endpoint": "regional", "addressing_style": "virtual"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
    ),
    # What SNS is asked for may be a text to somebody's telephone, and it knows no way to ask for one only once.
    "sns": _CONFIG.merge(Config(retries={"total_max_attempts": 1, "mode": "standard"})),
    # A function is invoked once: whether to try again is the caller's to say. The answer comes when the function ends.
    "lambda": _CONFIG.merge(Config(read_timeout=20, retries={"total_max_attempts": 1, "mode": "standard"})),
}


class _Clients:
    """A session of our own: nobody else makes clients from it, so that the lock holds for all who do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session: boto3.Session | None = None
        self._made: dict[str, object] = {}

    def get(self, service: str) -> object:
        with self._lock:
            if service not in self._made:
                if self._session is None:
                    self._session = boto3.Session()
                make = cast("Callable[..., object]", self._session.client)
                self._made[service] = make(service, config=_CONFIGS.get(service, _CONFIG))
            return self._made[service]

    def forget(self) -> None:
        with self._lock:
            self._made.clear()


_clients = _Clients()


@overload
def client(service: Literal["kms"]) -> "KMSClient": ...
@overload
def client(service: Literal["lambda"]) -> "LambdaClient": ...
@overload
def client(service: Literal["sqs"]) -> "SQSClient": ...
@overload
def client(service: Literal["ses"]) -> "SESClient": ...
@overload
def client(service: Literal["sns"]) -> "SNSClient": ...
@overload
def client(service: Literal["s3"]) -> "S3Client": ...
@overload
def client(service: Literal["secretsmanager"]) -> "SecretsManagerClient": ...
def client(service: str) -> Any:
    """The process's client of a service; any number of threads may share it. Raises BotoCoreError without a region."""
    return _clients.get(service)


def forget_clients() -> None:
    """Make clients anew at their next use: their connections belong to another sandbox, or the environment has changed."""
    _clients.forget()
