"""Secrets by name, created empty: their values never pass through a template. Stateful."""

import aws_cdk as cdk
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.acknowledgements import Acknowledged, acknowledge
from infra.capabilities import SECRETS
from infra.handles import SecretHandle
from infra.naming import pascal
from infra.stages import Stage

_ROTATION = Acknowledged(
    "SMG4",
    "An operator rotates it: the sealing secret holds several keys by name and an inbound secret holds old and new side by side "
    "until the other party has changed over, which a schedule cannot know.",
)


class SecretsStack(cdk.Stack):
    """One secret for each outside party and direction. An empty one fails the first call that needs it, loudly."""

    def __init__(self, scope: Construct, stage: Stage, env: cdk.Environment, storage_key_arn: str) -> None:
        super().__init__(
            scope,
            f"{stage.prefix}-secrets",
            env=env,
            termination_protection=stage.termination_protection,
            description="Secrets, filled by an operator",
        )
        self.handles: dict[str, SecretHandle] = {}
        for name in sorted(set(SECRETS.values())):
            full_name = f"cardwright/{stage.name}/{name}"
            # The L2 construct would generate a value; these have a shape of their own.
            secret = secretsmanager.CfnSecret(self, pascal(name), name=full_name, kms_key_id=storage_key_arn)
            secret.apply_removal_policy(cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE)
            acknowledge(secret, [_ROTATION])
            self.handles[name] = SecretHandle(name=full_name, arn=secret.ref)
