"""What keeps data is encrypted, protected, and signs in nobody with a password."""

import json
from typing import Any

import pytest

from cardwright.transactions.rules.exports import KEPT
from infra import check
from infra.data import PROXY_ROLES
from infra.objects import NEVER
from tests.infra.templates import Templates, canonical


def test_evidence_is_locked_for_the_stages_retention(templates: Templates) -> None:
    (bucket,) = [found for found in templates.properties("AWS::S3::Bucket") if found.get("ObjectLockEnabled")]
    rule = bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
    assert rule == {"Mode": "COMPLIANCE", "Days": templates.stage.evidence_days}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}


def _denials(templates: Templates) -> dict[str, dict[str, Any]]:
    policies = [found["PolicyDocument"]["Statement"] for found in templates.properties("AWS::S3::BucketPolicy")]
    return {
        statement["Sid"]: statement
        for statements in policies
        for statement in statements
        if statement["Effect"] == "Deny" and "Sid" in statement
    }


def test_nobody_can_shorten_the_lock(templates: Templates) -> None:
    denials = _denials(templates)
    assert all(statement["Principal"] == {"AWS": "*"} for statement in denials.values())
    assert set(denials["NothingEndsEarly"]["Action"]) == set(NEVER)
    assert "Condition" not in denials["NothingEndsEarly"]
    shorter = denials["NoShorterRetention"]
    assert {"s3:PutObject", "s3:PutObjectRetention"} <= set(shorter["Action"])
    days = shorter["Condition"]["NumericLessThan"]["s3:object-lock-remaining-retention-days"]
    assert int(days) == templates.stage.evidence_days
    assert denials["NoWeakerMode"]["Condition"] == {"StringEquals": {"s3:object-lock-mode": "GOVERNANCE"}}
    assert "s3:DeleteBucketPolicy" in denials["OnlyTheDeploymentChangesThis"]["Action"]


def test_exported_files_are_encrypted_and_gone_after_a_week(templates: Templates) -> None:
    (bucket,) = [found for found in templates.properties("AWS::S3::Bucket") if "-exports-" in str(found.get("BucketName"))]
    (encryption,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    assert (rule["Status"], rule["ExpirationInDays"]) == ("Enabled", KEPT.days)
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}


def test_buckets_speak_tls_only_and_to_nobody_in_public(templates: Templates) -> None:
    buckets = templates.properties("AWS::S3::Bucket")
    assert all(all(bucket["PublicAccessBlockConfiguration"].values()) for bucket in buckets)
    policies = canonical(templates.properties("AWS::S3::BucketPolicy"))
    assert policies.count('"aws:SecureTransport": "false"') == len(buckets)
    assert policies.count('"s3:TlsVersion": 1.2') == len(buckets)


def test_the_database_takes_tokens_over_tls_only(templates: Templates) -> None:
    (cluster,) = templates.properties("AWS::RDS::DBCluster")
    assert cluster["EnableIAMDatabaseAuthentication"] is True
    assert cluster["MasterUserAuthenticationType"] == "iam-db-auth"
    assert "MasterUserPassword" not in cluster
    assert (cluster["StorageEncrypted"], cluster["DeletionProtection"]) == (True, True)
    assert cluster["BackupRetentionPeriod"] <= 7
    (parameters,) = templates.properties("AWS::RDS::DBClusterParameterGroup")
    assert parameters["Parameters"]["rds.force_ssl"] == "1"
    (proxy,) = templates.properties("AWS::RDS::DBProxy")
    assert (proxy["DefaultAuthScheme"], proxy["RequireTLS"]) == ("IAM_AUTH", True)


def test_the_proxy_signs_in_as_each_role_and_not_as_the_owner(templates: Templates) -> None:
    (role,) = [r for r in templates.properties("AWS::IAM::Role", "data") if "rds.amazonaws.com" in canonical(r)]
    text = canonical(role["Policies"])
    assert all(f'/{name}"' in text for name in PROXY_ROLES)
    assert '/owner"' not in text


def test_the_cache_signs_in_by_token(templates: Templates) -> None:
    (user,) = templates.properties("AWS::ElastiCache::User")
    assert user["AuthenticationMode"] == {"Type": "iam"}
    assert user["UserId"] == user["UserName"]
    (cache,) = templates.properties("AWS::ElastiCache::ServerlessCache")
    assert cache["Engine"] == "valkey"
    assert "KmsKeyId" in cache


def test_symmetric_keys_rotate_and_no_key_can_be_lost(templates: Templates) -> None:
    for name, key in templates.resources("AWS::KMS::Key"):
        symmetric = key["Properties"].get("KeySpec", "SYMMETRIC_DEFAULT") == "SYMMETRIC_DEFAULT"
        assert key["Properties"].get("EnableKeyRotation", False) is symmetric, name
        assert key["DeletionPolicy"].startswith("Retain")
    specs = [found.get("KeySpec") for found in templates.properties("AWS::KMS::Key")]
    assert specs.count("RSA_2048") == len(templates.stage.signing_keys)
    assert specs.count("HMAC_256") == 1


def test_key_policies_give_functions_nothing(templates: Templates) -> None:
    account = f":iam::{templates.stage.account}:root"
    for found in templates.properties("AWS::KMS::Key"):
        for statement in found["KeyPolicy"]["Statement"]:
            if statement["Action"] == "kms:*":
                assert account in canonical(statement["Principal"])
            else:
                assert "Service" in statement["Principal"]


def test_secrets_have_no_value_in_a_template(templates: Templates) -> None:
    secrets = templates.properties("AWS::SecretsManager::Secret")
    assert secrets
    assert all("SecretString" not in secret and "GenerateSecretString" not in secret for secret in secrets)


def test_queues_are_encrypted_and_have_a_dead_letter_queue(templates: Templates) -> None:
    queues = templates.properties("AWS::SQS::Queue")
    assert all("KmsMasterKeyId" in queue for queue in queues)
    live = [queue for queue in queues if not queue["QueueName"].endswith("-dead")]
    assert len(live) * 2 == len(queues)
    assert all("RedrivePolicy" in queue for queue in live)


@pytest.mark.parametrize("part", ["keys", "secrets", "objects", "data", "queues", "network"])
def test_stateful_stacks_are_protected(part: str, synthesis: check.Result, templates: Templates) -> None:
    manifest = json.loads((synthesis.outdir / "manifest.json").read_text())
    stack = manifest["artifacts"][f"{templates.stage.prefix}-{part}"]
    assert stack["properties"]["terminationProtection"] is True


def test_nothing_is_open_and_every_acknowledgement_says_why(synthesis: check.Result) -> None:
    assert check.problems(synthesis) == []
    assert synthesis.acknowledged
    assert all(found.reason and len(found.reason) > 30 for found in synthesis.acknowledged)
