"""Where alarms go, and how one is made."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.stages import Stage


class AlarmsStack(cdk.Stack):
    """One topic for people on duty."""

    def __init__(self, scope: Construct, stage: Stage, env: cdk.Environment, storage_key: kms.IKey) -> None:
        super().__init__(scope, f"{stage.prefix}-alarms", env=env, description="Where alarms go")
        self.topic = sns.Topic(self, "Alarms", topic_name=f"{stage.prefix}-alarms", master_key=storage_key, enforce_ssl=True)
        if stage.alarm_email:
            self.topic.add_subscription(subscriptions.EmailSubscription(stage.alarm_email))


def alarm_on(
    scope: Construct,
    name: str,
    alarms: AlarmsStack,
    *,
    metric: cloudwatch.IMetric,
    above: float,
    description: str,
    periods: int = 1,
    missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
) -> cloudwatch.Alarm:
    """An alarm while `metric` is above a value for `periods` of its periods; it says so when it rises and when it ends."""
    alarm = cloudwatch.Alarm(
        scope,
        f"{name}Alarm",
        metric=metric,
        threshold=above,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        evaluation_periods=periods,
        treat_missing_data=missing,
        alarm_description=description,
    )
    action = actions.SnsAction(alarms.topic)
    alarm.add_alarm_action(action)
    alarm.add_ok_action(action)
    return alarm
