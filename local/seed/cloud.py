"""Keys, secrets, queues and buckets in the AWS emulator; running it again changes nothing that exists."""

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import boto3
from botocore.config import Config

from cardwright.kernel.rows import Queue, Row
from local.lambda_context import ACCOUNT, REGION

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

_Spec = Literal["SYMMETRIC_DEFAULT", "HMAC_256", "RSA_2048"]
_Usage = Literal["ENCRYPT_DECRYPT", "GENERATE_VERIFY_MAC", "SIGN_VERIFY"]
_KEYS: Final[dict[str, tuple[_Spec, _Usage]]] = {
    "vault": ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
    "user": ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
    "mac": ("HMAC_256", "GENERATE_VERIFY_MAC"),
    "signing": ("RSA_2048", "SIGN_VERIFY"),
}
_DLQ_RETENTION_S: Final = 14 * 24 * 3600
# As infra/objects.py has them in AWS; the emulator removes nothing by itself.
_BUCKETS: Final = ("exports",)


@dataclass(frozen=True, slots=True)
class CloudResources:
    """Names the handlers' environment needs: key ARNs by purpose, queue URLs and bucket names by logical name."""

    keys: dict[str, str]
    queues: dict[str, str]
    buckets: dict[str, str]


def seed_cloud(endpoint: str, rows: Iterable[Row], documents: Mapping[str, Mapping[str, Any]]) -> CloudResources:
    """Make what is missing: KMS keys under aliases, `documents` as secrets, each Queue row's queue with its DLQ, buckets."""
    session = boto3.Session(aws_access_key_id=ACCOUNT, aws_secret_access_key=ACCOUNT, region_name=REGION)
    config = Config(connect_timeout=3, read_timeout=20, retries={"total_max_attempts": 3}, proxies={})
    kms = session.client("kms", endpoint_url=endpoint, config=config)
    secrets = session.client("secretsmanager", endpoint_url=endpoint, config=config)
    sqs = session.client("sqs", endpoint_url=endpoint, config=config)
    s3 = session.client("s3", endpoint_url=endpoint, config=config)
    with ThreadPoolExecutor(4) as pool:
        keys = pool.submit(_keys, kms)
        kept = pool.submit(_secrets, secrets, documents)
        queues = pool.submit(_queues, sqs, [row for row in rows if isinstance(row, Queue)])
        buckets = pool.submit(_buckets, s3)
        kept.result()
        return CloudResources(keys.result(), queues.result(), buckets.result())


def _keys(kms: "KMSClient") -> dict[str, str]:
    known = {
        alias["AliasName"]: alias["TargetKeyId"]
        for page in kms.get_paginator("list_aliases").paginate()
        for alias in page["Aliases"]
        if "TargetKeyId" in alias
    }
    arns = {}
    for purpose, (spec, usage) in _KEYS.items():
        alias = f"alias/cardwright-{purpose}"
        if alias not in known:
            made = kms.create_key(KeySpec=spec, KeyUsage=usage, Description=f"cardwright {purpose}")
            known[alias] = made["KeyMetadata"]["KeyId"]
            kms.create_alias(AliasName=alias, TargetKeyId=known[alias])
        arns[purpose] = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{known[alias]}"
    return arns


def _secrets(client: "SecretsManagerClient", documents: Mapping[str, Mapping[str, Any]]) -> None:
    known = {entry["Name"] for page in client.get_paginator("list_secrets").paginate() for entry in page["SecretList"]}
    for name, document in documents.items():
        if name not in known:
            client.create_secret(Name=name, SecretString=json.dumps(document))


def _queues(sqs: "SQSClient", rows: Iterable[Queue]) -> dict[str, str]:
    urls = {}
    for row in rows:
        dead_letters = f"cardwright-{row.queue}-dlq"
        _queue(sqs, dead_letters, {"MessageRetentionPeriod": str(_DLQ_RETENTION_S)})
        redrive = {
            "deadLetterTargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{dead_letters}",
            "maxReceiveCount": row.max_receives,
        }
        attributes = {"VisibilityTimeout": str(row.visibility_s), "RedrivePolicy": json.dumps(redrive)}
        urls[row.queue] = _queue(sqs, f"cardwright-{row.queue}", attributes)
    return urls


def _queue(sqs: "SQSClient", name: str, attributes: dict[str, str]) -> str:
    """Make a queue or bring an existing one up to date with its row."""
    try:
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    except sqs.exceptions.QueueDoesNotExist:
        return sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]  # type: ignore[arg-type]  # names by the API
    sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)  # type: ignore[arg-type]  # names by the API
    return url


def _buckets(s3: "S3Client") -> dict[str, str]:
    """Make the buckets that are not there, closed to the public."""
    names = {purpose: f"cardwright-local-{purpose}" for purpose in _BUCKETS}
    known = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    for name in names.values():
        if name not in known:
            s3.create_bucket(Bucket=name)
        s3.put_public_access_block(
            Bucket=name,
            PublicAccessBlockConfiguration={
                "BlockPublicAcls": True,
                "IgnorePublicAcls": True,
                "BlockPublicPolicy": True,
                "RestrictPublicBuckets": True,
            },
        )
    return names
