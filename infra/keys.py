"""Keys in KMS. Stateful: what they encrypted is lost with them."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra.handles import Keys
from infra.naming import pascal
from infra.stages import Stage


class KeysStack(cdk.Stack):
    """One key for each purpose, so that a grant on one says exactly what its holder can read.

    Key policies name the account alone: who may use a key is written once, in the roles' own policies, action by action.
    """

    def __init__(self, scope: Construct, stage: Stage, env: cdk.Environment) -> None:
        super().__init__(
            scope, f"{stage.prefix}-keys", env=env, termination_protection=stage.termination_protection, description="Keys in KMS"
        )
        self._stage = stage
        # Material of a symmetric key rotates by itself; a key as a whole, as after a compromise, by a new one put first.
        vault = [self._symmetric(name, "Encrypts card numbers") for name in stage.vault_keys]
        user = self._symmetric("user", "Wraps the data key of each person")
        self.storage = self._symmetric("storage", "Encrypts storage of AWS services: database, queues, secrets, logs")
        mac = self._key("mac", "Blind indexes and fingerprints", kms.KeySpec.HMAC_256, kms.KeyUsage.GENERATE_VERIFY_MAC)
        # Asymmetric keys do not rotate by themselves: a new one is put first, the old one verifies until dropped.
        signing = [
            self._key(f"signing-{key_id}", "Signs access tokens", kms.KeySpec.RSA_2048, kms.KeyUsage.SIGN_VERIFY)
            for key_id in stage.signing_keys
        ]
        self._let_services_use_storage_key()
        self.handle = Keys(
            vault=tuple(key.key_arn for key in vault),
            user=user.key_arn,
            mac=mac.key_arn,
            signing=tuple(key.key_arn for key in signing),
            storage=self.storage.key_arn,
        )

    def _symmetric(self, name: str, description: str) -> kms.Key:
        return kms.Key(
            self,
            pascal(name),
            alias=f"alias/{self._stage.prefix}/{name}",
            description=description,
            enable_key_rotation=True,
            removal_policy=cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
        )

    def _key(self, name: str, description: str, spec: kms.KeySpec, usage: kms.KeyUsage) -> kms.Key:
        return kms.Key(
            self,
            pascal(name),
            alias=f"alias/{self._stage.prefix}/{name}",
            description=description,
            key_spec=spec,
            key_usage=usage,
            removal_policy=cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
        )

    def _let_services_use_storage_key(self) -> None:
        """CloudWatch Logs, alarms and topics use a key in their own name, each for this account's resources only."""
        logs = f"arn:aws:logs:{self._stage.region}:{self._stage.account}:log-group:*"
        self.storage.add_to_resource_policy(
            iam.PolicyStatement(
                sid="Logs",
                principals=[iam.ServicePrincipal(f"logs.{self._stage.region}.amazonaws.com")],
                actions=["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey"],
                resources=["*"],
                conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": logs}},
            )
        )
        self.storage.add_to_resource_policy(
            iam.PolicyStatement(
                sid="Alarms",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                resources=["*"],
                conditions={"StringEquals": {"aws:SourceAccount": self._stage.account}},
            )
        )
        topics = f"arn:aws:sns:{self._stage.region}:{self._stage.account}:*"
        self.storage.add_to_resource_policy(
            iam.PolicyStatement(
                sid="Topics",
                principals=[iam.ServicePrincipal("sns.amazonaws.com")],
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                resources=["*"],
                conditions={"ArnLike": {"aws:SourceArn": topics}},
            )
        )
        # As SES's guide has it, without a condition: whom SES publishes for is the topic's policy to say.
        self.storage.add_to_resource_policy(
            iam.PolicyStatement(
                sid="Mail",
                principals=[iam.ServicePrincipal("ses.amazonaws.com")],
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                resources=["*"],
            )
        )
