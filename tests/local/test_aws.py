"""The emulator's moto side: what survives a kill, what Object Lock refuses, and the secrets extension."""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from tests.local.programs import Running, aws_client, program

Time = datetime.datetime


@dataclass(frozen=True)
class Aws:
    """The emulator and how to reach its services."""

    running: Running

    def client(self, service: str) -> Any:
        """A boto3 client."""
        return aws_client(service, self.running.url)


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with program("local.aws", "--data", str(tmp_path_factory.mktemp("aws"))) as running:
        yield Aws(running)


def in_days(days: float) -> Time:
    """A time from now."""
    return Time.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(days=days)


def refused(code: str, call: Any, **arguments: Any) -> None:
    """Assert that AWS's error `code` is the answer."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["Error"]["Code"] == code


# Surviving a kill


def test_old_ciphertext_signatures_and_macs_hold_after_a_kill(tmp_path: Path) -> None:
    with program("local.aws", "--data", str(tmp_path / "aws")) as running:
        kms = Aws(running).client("kms")
        tags = [{"TagKey": "purpose", "TagValue": "cards"}]
        key = kms.create_key(Description="cards", Tags=tags)["KeyMetadata"]["KeyId"]
        kms.create_alias(AliasName="alias/cards", TargetKeyId=key)
        kms.enable_key_rotation(KeyId=key)
        hmac = kms.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["KeyId"]
        asymmetric = [
            (kms.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"], algorithm)
            for spec, algorithm in (("RSA_2048", "RSASSA_PKCS1_V1_5_SHA_256"), ("ECC_NIST_P256", "ECDSA_SHA_256"))
        ]
        context = {"card": "1"}
        secret = kms.encrypt(KeyId="alias/cards", Plaintext=b"secret", EncryptionContext=context)["CiphertextBlob"]
        data_key = kms.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=context)
        managed = kms.encrypt(KeyId="alias/aws/s3", Plaintext=b"managed")["CiphertextBlob"]
        mac = kms.generate_mac(KeyId=hmac, Message=b"pan", MacAlgorithm="HMAC_SHA_256")["Mac"]
        signed = [kms.sign(KeyId=k, Message=b"jwt", SigningAlgorithm=a)["Signature"] for k, a in asymmetric]
        public = [kms.get_public_key(KeyId=k)["PublicKey"] for k, _ in asymmetric]
        grant = kms.create_grant(KeyId=key, GranteePrincipal="role", Operations=["Decrypt"])["GrantId"]
        running.kill_and_restart()
        assert kms.decrypt(CiphertextBlob=secret, EncryptionContext=context)["Plaintext"] == b"secret"
        opened = kms.decrypt(CiphertextBlob=data_key["CiphertextBlob"], EncryptionContext=context)["Plaintext"]
        assert opened == data_key["Plaintext"]
        assert kms.decrypt(CiphertextBlob=managed)["Plaintext"] == b"managed"
        refused("InvalidCiphertextException", kms.decrypt, CiphertextBlob=secret, EncryptionContext={"card": "2"})
        assert kms.verify_mac(KeyId=hmac, Message=b"pan", Mac=mac, MacAlgorithm="HMAC_SHA_256")["MacValid"]
        for (k, algorithm), signature, public_key in zip(asymmetric, signed, public, strict=True):
            assert kms.get_public_key(KeyId=k)["PublicKey"] == public_key
            assert kms.verify(KeyId=k, Message=b"jwt", Signature=signature, SigningAlgorithm=algorithm)["SignatureValid"]
        assert kms.describe_key(KeyId="alias/cards")["KeyMetadata"]["KeyId"] == key
        assert kms.list_resource_tags(KeyId=key)["Tags"] == tags
        assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"]
        assert [found["GrantId"] for found in kms.list_grants(KeyId=key)["Grants"]] == [grant]
        assert (tmp_path / "aws" / "services.db").stat().st_mode & 0o077 == 0


def test_secrets_keep_their_versions_after_a_kill(tmp_path: Path) -> None:
    with program("local.aws", "--data", str(tmp_path)) as running:
        secrets = Aws(running).client("secretsmanager")
        secrets.create_secret(Name="cardwright/processor", SecretString="first")
        secrets.put_secret_value(SecretId="cardwright/processor", SecretString="second")
        secrets.create_secret(Name="gone", SecretString="x")
        secrets.delete_secret(SecretId="gone", ForceDeleteWithoutRecovery=True)
        running.kill_and_restart()
        assert secrets.get_secret_value(SecretId="cardwright/processor")["SecretString"] == "second"
        previous = secrets.get_secret_value(SecretId="cardwright/processor", VersionStage="AWSPREVIOUS")
        assert previous["SecretString"] == "first"
        refused("ResourceNotFoundException", secrets.get_secret_value, SecretId="gone")


def test_buckets_and_every_object_version_are_the_same_after_a_kill(tmp_path: Path) -> None:
    with program("local.aws", "--data", str(tmp_path)) as running:
        s3 = Aws(running).client("s3")
        s3.create_bucket(Bucket="archive", ObjectLockEnabledForBucket=True)
        rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 10}}
        lock = {"ObjectLockEnabled": "Enabled", "Rule": rule}
        s3.put_object_lock_configuration(Bucket="archive", ObjectLockConfiguration=lock)
        key = "2026/11/root é+1.json"
        metadata = {"chain_head": "a1", "chain-length": "2"}
        first = s3.put_object(Bucket="archive", Key=key, Body=b"one", Metadata=metadata, ContentType="text/plain")
        second = s3.put_object(Bucket="archive", Key=key, Body=b"two", Tagging="kind=root")["VersionId"]
        s3.delete_object(Bucket="archive", Key=key)
        s3.create_bucket(Bucket="plain")
        for body in (b"x" * 300_000, b"last"):
            s3.put_object(Bucket="plain", Key="kept", Body=body)
        for name in ("gone", "gone too"):
            s3.put_object(Bucket="plain", Key=name, Body=b"y")
        s3.delete_objects(Bucket="plain", Delete={"Objects": [{"Key": "gone"}]})
        s3.delete_object(Bucket="plain", Key="gone too")
        upload = s3.create_multipart_upload(Bucket="plain", Key="parts")["UploadId"]
        part = s3.upload_part(Bucket="plain", Key="parts", UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
        parts = {"Parts": [{"ETag": part, "PartNumber": 1}]}
        s3.complete_multipart_upload(Bucket="plain", Key="parts", UploadId=upload, MultipartUpload=parts)
        begun = s3.create_multipart_upload(Bucket="plain", Key="begun")["UploadId"]
        s3.upload_part(Bucket="plain", Key="begun", UploadId=begun, PartNumber=1, Body=b"part")
        s3.create_bucket(Bucket="dropped")
        s3.delete_bucket(Bucket="dropped")
        before = s3.list_object_versions(Bucket="archive")
        buckets = s3.list_buckets()["Buckets"]
        running.kill_and_restart()
        after = s3.list_object_versions(Bucket="archive")
        assert [after[part] for part in ("Versions", "DeleteMarkers")] == [before[part] for part in ("Versions", "DeleteMarkers")]
        assert s3.list_buckets()["Buckets"] == buckets
        head = s3.head_object(Bucket="archive", Key=key, VersionId=first["VersionId"])
        assert (head["Metadata"], head["ContentType"]) == (metadata, "text/plain")
        assert (head["ObjectLockMode"], head["ContentLength"]) == ("COMPLIANCE", 3)
        refused("AccessDenied", s3.delete_object, Bucket="archive", Key=key, VersionId=second)
        tags = s3.get_object_tagging(Bucket="archive", Key=key, VersionId=second)["TagSet"]
        assert tags == [{"Key": "kind", "Value": "root"}]
        kept_lock = s3.get_object_lock_configuration(Bucket="archive")["ObjectLockConfiguration"]["Rule"]
        assert (kept_lock["DefaultRetention"]["Mode"], kept_lock["DefaultRetention"]["Days"]) == ("COMPLIANCE", 10)
        assert s3.get_object(Bucket="plain", Key="kept")["Body"].read() == b"last"
        assert s3.get_object(Bucket="plain", Key="parts")["Body"].read() == b"part"
        assert {found["Key"] for found in s3.list_objects_v2(Bucket="plain")["Contents"]} == {"kept", "parts"}
        # Parts are not kept, and S3's own answer says so.
        lost = {"Bucket": "plain", "Key": "begun", "UploadId": begun}
        refused("NoSuchUpload", s3.upload_part, **lost, PartNumber=2, Body=b"part")
        refused("NoSuchUpload", s3.complete_multipart_upload, **lost, MultipartUpload=parts)
        refused("NoSuchUpload", s3.abort_multipart_upload, **lost)


# Object Lock


@pytest.fixture
def locked(aws: Aws, request: pytest.FixtureRequest) -> dict[str, str]:
    """A version under COMPLIANCE for ten days."""
    s3 = aws.client("s3")
    bucket = f"lock-{abs(hash(request.node.name)) % 10**9}"
    s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    version = s3.put_object(
        Bucket=bucket, Key="root", Body=b"1", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=in_days(10)
    )
    return {"Bucket": bucket, "Key": "root", "VersionId": version["VersionId"]}


@pytest.mark.parametrize(
    ("mode", "days"),
    [("COMPLIANCE", 9), ("GOVERNANCE", 10), ("GOVERNANCE", 100)],
    ids=["shorter", "weaker", "weaker-longer"],
)
@pytest.mark.parametrize("bypass", [False, True])
def test_compliance_cannot_be_weakened(aws: Aws, locked: dict[str, str], mode: str, days: int, bypass: bool) -> None:
    retention = {"Mode": mode, "RetainUntilDate": in_days(days)}
    s3 = aws.client("s3")
    arguments = {**locked, "Retention": retention, "BypassGovernanceRetention": bypass}
    refused("AccessDenied", s3.put_object_retention, **arguments)
    assert s3.get_object_retention(**locked)["Retention"]["Mode"] == "COMPLIANCE"


def test_compliance_cannot_be_removed_or_dated_back(aws: Aws, locked: dict[str, str]) -> None:
    s3 = aws.client("s3")
    refused("AccessDenied", s3.put_object_retention, **locked, Retention={})
    past = {"Mode": "COMPLIANCE", "RetainUntilDate": in_days(-1)}
    refused("InvalidArgument", s3.put_object_retention, **locked, Retention=past)
    latest = {name: value for name, value in locked.items() if name != "VersionId"}
    shorter = {"Mode": "COMPLIANCE", "RetainUntilDate": in_days(1)}
    refused("AccessDenied", s3.put_object_retention, **latest, Retention=shorter)


def test_compliance_can_be_extended(aws: Aws, locked: dict[str, str]) -> None:
    s3 = aws.client("s3")
    s3.put_object_retention(**locked, Retention={"Mode": "COMPLIANCE", "RetainUntilDate": in_days(20)})
    assert s3.get_object_retention(**locked)["Retention"]["RetainUntilDate"] > in_days(19)


def test_a_locked_version_cannot_be_deleted_alone_or_in_a_batch(aws: Aws, locked: dict[str, str]) -> None:
    s3 = aws.client("s3")
    refused("AccessDenied", s3.delete_object, **locked, BypassGovernanceRetention=True)
    entry = {"Key": locked["Key"], "VersionId": locked["VersionId"]}
    answer = s3.delete_objects(Bucket=locked["Bucket"], Delete={"Objects": [entry]})
    assert [error["Code"] for error in answer["Errors"]] == ["AccessDenied"]
    assert s3.get_object(**locked)["Body"].read() == b"1"


def test_versioning_of_a_locked_bucket_cannot_be_suspended(aws: Aws, locked: dict[str, str]) -> None:
    s3 = aws.client("s3")
    configuration = {"Status": "Suspended"}
    refused("InvalidBucketState", s3.put_bucket_versioning, Bucket=locked["Bucket"], VersioningConfiguration=configuration)
    assert s3.get_bucket_versioning(Bucket=locked["Bucket"])["Status"] == "Enabled"


def test_governance_can_be_weakened_only_with_the_bypass(aws: Aws, locked: dict[str, str]) -> None:
    s3 = aws.client("s3")
    arguments: dict[str, Any] = {"Bucket": locked["Bucket"], "Key": "soft"}
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": in_days(10)}
    arguments["VersionId"] = s3.put_object(**arguments, Body=b"1", **lock)["VersionId"]
    shorter = {"Mode": "GOVERNANCE", "RetainUntilDate": in_days(1)}
    refused("AccessDenied", s3.put_object_retention, **arguments, Retention=shorter)
    s3.put_object_retention(**arguments, Retention=shorter, BypassGovernanceRetention=True)
    assert s3.get_object_retention(**arguments)["Retention"]["RetainUntilDate"] < in_days(2)


def test_an_object_without_a_lock_has_no_retention_to_tell(aws: Aws, locked: dict[str, str]) -> None:
    s3 = aws.client("s3")
    s3.put_object(Bucket=locked["Bucket"], Key="free", Body=b"1")
    refused("NoSuchObjectLockConfiguration", s3.get_object_retention, Bucket=locked["Bucket"], Key="free")


# Keys


def test_a_key_disabled_or_about_to_be_deleted_is_not_used(aws: Aws) -> None:
    kms = aws.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/state", TargetKeyId=key)
    sealed = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    kms.disable_key(KeyId=key)
    refused("DisabledException", kms.decrypt, CiphertextBlob=sealed)
    refused("DisabledException", kms.encrypt, KeyId="alias/state", Plaintext=b"x")
    refused(
        "DisabledException", kms.generate_data_key, KeyId=kms.describe_key(KeyId=key)["KeyMetadata"]["Arn"], KeySpec="AES_256"
    )
    kms.enable_key(KeyId=key)
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"x"
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    refused("KMSInvalidStateException", kms.decrypt, CiphertextBlob=sealed)
    refused("NotFoundException", kms.encrypt, KeyId="alias/nowhere", Plaintext=b"x")


# The address


def test_the_secrets_extension_gives_a_secret_to_holders_of_a_token(aws: Aws) -> None:
    made = aws.client("secretsmanager").create_secret(Name="extension/one", SecretString="value")
    address = f"{aws.running.url}/secretsmanager/get"
    token = {"X-Aws-Parameters-Secrets-Token": "any"}
    with httpx.Client(trust_env=False) as http:
        found = http.get(address, params={"secretId": "extension/one"}, headers=token).json()
        assert (found["Name"], found["SecretString"]) == ("extension/one", "value")
        assert found["VersionId"] == made["VersionId"]
        assert http.get(address, params={"secretId": made["ARN"]}, headers=token).json()["SecretString"] == "value"
        assert http.get(address, params={"secretId": "extension/one"}).status_code == 401
        assert http.get(address, headers=token).status_code == 400
        assert http.post(address, headers=token).status_code == 405
        missing = http.get(address, params={"secretId": "nowhere"}, headers=token)
        assert (missing.status_code, missing.json()["__type"]) == (400, "ResourceNotFoundException")


def test_only_the_loopback_address_is_answered(aws: Aws) -> None:
    answer = httpx.get(f"{aws.running.url}/healthz", headers={"Host": "bucket.localhost"}, trust_env=False)
    assert answer.status_code == 400
    assert answer.json()["__type"] == "InvalidHost"


def test_a_presigned_address_serves_the_object(aws: Aws) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="presigned")
    s3.put_object(Bucket="presigned", Key="report.pdf", Body=b"%PDF")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "presigned", "Key": "report.pdf"})
    assert httpx.get(url, trust_env=False).content == b"%PDF"


def test_what_moto_does_not_know_is_an_error_and_not_a_dead_connection(aws: Aws) -> None:
    headers = {"X-Amz-Target": "AmazonSQS.Juggle"}
    answer = httpx.post(aws.running.url, headers=headers, content=b"{}", trust_env=False)
    assert answer.status_code == 400
    assert answer.headers["x-amzn-query-error"] == "InvalidAction;Sender"
    assert httpx.post(aws.running.url, headers=headers, content=b"[]", trust_env=False).status_code == 400


def test_the_emulator_stops_within_two_seconds_of_sigterm(tmp_path: Path) -> None:
    with program("local.aws", "--data", str(tmp_path)) as running:
        assert running.stop() < 2.5
        assert running.process.returncode == 0
