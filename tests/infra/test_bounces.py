"""SES tells of bounces in a queue that nobody else writes to."""

from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from aws_cdk.assertions import Template

from infra import assembly, bounces, stages
from tests.infra.templates import canonical

STAGE = stages.load("dev", {})


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    """A stack with a queue that is fed."""
    stack = cdk.Stack(assembly.app(), "test", env=cdk.Environment(account=STAGE.account, region=STAGE.region))
    key = kms.Key.from_key_arn(
        stack, "Key", f"arn:aws:kms:{STAGE.region}:{STAGE.account}:key/00000000-0000-0000-0000-000000000000"
    )
    queue = sqs.Queue(stack, "Queue", encryption=sqs.QueueEncryption.KMS, encryption_master_key=key)
    bounces.feed_bounces(stack, STAGE, queue, key)
    found: dict[str, Any] = Template.from_stack(stack).to_json()["Resources"]
    return found


def one(template: dict[str, Any], kind: str) -> dict[str, Any]:
    """Properties of the one resource of a type."""
    (found,) = [resource["Properties"] for resource in template.values() if resource["Type"] == kind]
    properties: dict[str, Any] = found
    return properties


def test_bounces_and_complaints_go_to_the_topic(template: dict[str, Any]) -> None:
    assert one(template, "AWS::SES::ConfigurationSet")["Name"] == STAGE.prefix
    destination = one(template, "AWS::SES::ConfigurationSetEventDestination")
    assert destination["ConfigurationSetName"] == STAGE.prefix
    told = destination["EventDestination"]
    assert (told["Enabled"], told["MatchingEventTypes"]) == (True, ["bounce", "complaint"])
    assert "MailEvents" in canonical(told["SnsDestination"]["TopicARN"])


def test_ses_alone_publishes_and_only_for_this_stage(template: dict[str, Any]) -> None:
    statements = one(template, "AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"]
    (allowed,) = [statement for statement in statements if statement["Effect"] == "Allow"]
    assert allowed["Principal"] == {"Service": "ses.amazonaws.com"}
    assert allowed["Condition"] == {
        "StringEquals": {"aws:SourceAccount": STAGE.account},
        "ArnEquals": {"aws:SourceArn": f"arn:aws:ses:{STAGE.region}:{STAGE.account}:configuration-set/{STAGE.prefix}"},
    }


def test_the_topic_alone_writes_to_the_queue(template: dict[str, Any]) -> None:
    statements = one(template, "AWS::SQS::QueuePolicy")["PolicyDocument"]["Statement"]
    (allowed,) = [statement for statement in statements if statement["Effect"] == "Allow"]
    assert (allowed["Principal"], allowed["Action"]) == ({"Service": "sns.amazonaws.com"}, "sqs:SendMessage")
    assert "MailEvents" in canonical(allowed["Condition"]["ArnEquals"]["aws:SourceArn"])
    subscribed = one(template, "AWS::SNS::Subscription")
    assert (subscribed["Protocol"], subscribed["RawMessageDelivery"]) == ("sqs", True)


def test_addresses_lie_encrypted(template: dict[str, Any]) -> None:
    assert "KmsMasterKeyId" in one(template, "AWS::SNS::Topic")
    assert "KmsMasterKeyId" in one(template, "AWS::SQS::Queue")
