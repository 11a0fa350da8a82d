"""What SES tells of mail it took: a configuration set of the stage's name, its topic, and the queue where the topic ends.

Messages of the queue are not signed for us to check; that SES alone writes to it is the word of two policies.
"""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_ses as ses
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs

from infra.stages import Stage

# The queue's logical name: the catalogue's row that consumes it asks for all this.
QUEUE = "message-events"
# A delay is no bounce, and what was delivered needs no word.
_TOLD = ["bounce", "complaint"]


def feed_bounces(stack: cdk.Stack, stage: Stage, queue: sqs.Queue, storage_key: kms.IKey) -> None:
    """Lead bounces and complaints of mail sent through the stage's configuration set into the queue."""
    topic = sns.Topic(stack, "MailEvents", topic_name=f"{stage.prefix}-mail-events", master_key=storage_key, enforce_ssl=True)
    configuration = ses.CfnConfigurationSet(stack, "Mail", name=stage.prefix)
    source = f"arn:aws:ses:{stage.region}:{stage.account}:configuration-set/{stage.prefix}"
    topic.add_to_resource_policy(
        iam.PolicyStatement(
            sid="Mail",
            principals=[iam.ServicePrincipal("ses.amazonaws.com")],
            actions=["sns:Publish"],
            resources=[topic.topic_arn],
            conditions={"StringEquals": {"aws:SourceAccount": stage.account}, "ArnEquals": {"aws:SourceArn": source}},
        )
    )
    destination = ses.CfnConfigurationSetEventDestination(
        stack,
        "MailEventsDestination",
        configuration_set_name=stage.prefix,
        event_destination=ses.CfnConfigurationSetEventDestination.EventDestinationProperty(
            name="bounces",
            enabled=True,
            matching_event_types=_TOLD,
            sns_destination=ses.CfnConfigurationSetEventDestination.SnsDestinationProperty(topic_arn=topic.topic_arn),
        ),
    )
    destination.add_dependency(configuration)
    # SES publishes to the topic once to see whether it may: the policy has to be there.
    destination.node.add_dependency(topic)
    queue.add_to_resource_policy(
        iam.PolicyStatement(
            sid="MailEvents",
            principals=[iam.ServicePrincipal("sns.amazonaws.com")],
            actions=["sqs:SendMessage"],
            resources=[queue.queue_arn],
            conditions={"ArnEquals": {"aws:SourceArn": topic.topic_arn}},
        )
    )
    # The larger construct would write into the policy of the key, which is another stack's.
    sns.CfnSubscription(
        stack,
        "MailEventsToQueue",
        topic_arn=topic.topic_arn,
        protocol="sqs",
        endpoint=queue.queue_arn,
        raw_message_delivery=True,
    )
