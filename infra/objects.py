"""Buckets: evidence, which stays unchanged until its retention ends, and exports, which are gone after days. Stateful."""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.acknowledgements import Acknowledged, acknowledge
from infra.handles import BucketHandle
from infra.stages import Stage

# What would shorten or end the protection of something already written, or let somebody do so.
NEVER = (
    "s3:BypassGovernanceRetention",
    "s3:DeleteBucket",
    "s3:DeleteObjectVersion",
    "s3:PutBucketObjectLockConfiguration",
    "s3:PutBucketVersioning",
    "s3:PutLifecycleConfiguration",
    "s3:PutObjectLegalHold",
)
# How long an exported file is kept (transactions/rules/exports.py tells its owner the same), and parts of one never finished.
EXPORT_DAYS = 7
UPLOAD_DAYS = 1


class ObjectsStack(cdk.Stack):
    """S3. Evidence has Object Lock in COMPLIANCE mode, which not even root can shorten; its policy refuses the attempt too."""

    def __init__(self, scope: Construct, stage: Stage, env: cdk.Environment, storage_key: kms.IKey) -> None:
        super().__init__(
            scope,
            f"{stage.prefix}-objects",
            env=env,
            termination_protection=stage.termination_protection,
            description="Evidence that cannot be changed, and exported files",
        )
        self._stage = stage
        logs = s3.Bucket(
            self,
            "AccessLogs",
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            removal_policy=cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
            lifecycle_rules=[s3.LifecycleRule(expiration=cdk.Duration.days(max(stage.log_days, 90)))],
        )
        acknowledge(logs, [Acknowledged("S1", "It receives the access logs; logging into itself would never end.")])
        self.evidence = s3.Bucket(
            self,
            "Evidence",
            versioned=True,
            object_lock_enabled=True,
            object_lock_default_retention=s3.ObjectLockRetention.compliance(cdk.Duration.days(stage.evidence_days)),
            encryption=s3.BucketEncryption.KMS,
            encryption_key=storage_key,
            bucket_key_enabled=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            server_access_logs_bucket=logs,
            server_access_logs_prefix="evidence/",
            removal_policy=cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
        )
        self._refuse_shortening()
        self.exports_handle = self._exports(storage_key, logs)

    def _exports(self, storage_key: kms.IKey, logs: s3.IBucket) -> BucketHandle:
        # A name of its own: grants then name it without the stacks exporting it to each other.
        name = f"{self._stage.prefix}-exports-{self._stage.account}-{self._stage.region}"
        s3.Bucket(
            self,
            "Exports",
            bucket_name=name,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=storage_key,
            bucket_key_enabled=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            server_access_logs_bucket=logs,
            server_access_logs_prefix="exports/",
            removal_policy=cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
            lifecycle_rules=[
                s3.LifecycleRule(
                    expiration=cdk.Duration.days(EXPORT_DAYS),
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(UPLOAD_DAYS),
                )
            ],
        )
        return BucketHandle(name=name, arn=f"arn:aws:s3:::{name}")

    def _deny(self, sid: str, actions: list[str], *, objects: bool, conditions: Mapping[str, object] | None = None) -> None:
        bucket = self.evidence.bucket_arn
        self.evidence.add_to_resource_policy(
            iam.PolicyStatement(
                sid=sid,
                effect=iam.Effect.DENY,
                principals=[iam.AnyPrincipal()],
                actions=actions,
                resources=[bucket, f"{bucket}/*"] if objects else [bucket],
                conditions=conditions,
            )
        )

    def _refuse_shortening(self) -> None:
        """Deny to every principal, the account's administrators included."""
        self._deny("NothingEndsEarly", list(NEVER), objects=True)
        writes = ["s3:PutObject", "s3:PutObjectRetention"]
        # Writers leave the retention to the bucket's default: then the condition's key is absent and the statement does not bite.
        days = {"s3:object-lock-remaining-retention-days": self._stage.evidence_days}
        self._deny("NoShorterRetention", writes, objects=True, conditions={"NumericLessThan": days})
        weaker = {"s3:object-lock-mode": "GOVERNANCE"}
        self._deny("NoWeakerMode", writes, objects=True, conditions={"StringEquals": weaker})
        # Only the deployment may change these rules, and it does so from a reviewed template.
        deployment = f"arn:aws:iam::{self._stage.account}:role/cdk-*-cfn-exec-role-*"
        self._deny(
            "OnlyTheDeploymentChangesThis",
            ["s3:PutBucketPolicy", "s3:DeleteBucketPolicy", "s3:PutBucketPublicAccessBlock"],
            objects=False,
            conditions={"ArnNotLike": {"aws:PrincipalArn": deployment}},
        )
