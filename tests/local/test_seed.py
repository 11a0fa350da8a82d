"""The seed: what the emulator and the database hold afterwards, and that a second seed changes nothing."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cardwright.kernel.rows import Queue
from local.seed.cloud import CloudResources, seed_cloud
from local.seed.people import LOAD_USERS, as_published, everyone, new_people
from tests.local.programs import Running, aws_client, program

ROW = Queue(name="consume", domain="tests", queue="events", visibility_s=90, max_receives=4)
DOCUMENTS = {"cardwright/local/example": {"api_key": "one"}}


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An emulator of its own."""
    data: Path = tmp_path_factory.mktemp("aws")
    with program("local.aws", "--data", str(data)) as running:
        yield running


@pytest.fixture(scope="module")
def seeded(aws: Running) -> CloudResources:
    """Seeded once."""
    return seed_cloud(aws.url, [ROW], DOCUMENTS)


def test_keys_have_the_kinds_the_platform_needs(aws: Running, seeded: CloudResources) -> None:
    kms = aws_client("kms", aws.url)
    kinds = {purpose: kms.describe_key(KeyId=arn)["KeyMetadata"]["KeySpec"] for purpose, arn in seeded.keys.items()}
    assert kinds == {
        "vault": "SYMMETRIC_DEFAULT", "user": "SYMMETRIC_DEFAULT", "mac": "HMAC_256", "signing": "RSA_2048"
    }  # fmt: skip


def test_queue_follows_its_row_and_has_a_dead_letter_queue(aws: Running, seeded: CloudResources) -> None:
    sqs = aws_client("sqs", aws.url)
    attributes = sqs.get_queue_attributes(QueueUrl=seeded.queues["events"], AttributeNames=["All"])["Attributes"]
    assert attributes["VisibilityTimeout"] == "90"
    redrive = json.loads(attributes["RedrivePolicy"])
    assert int(redrive["maxReceiveCount"]) == 4
    assert redrive["deadLetterTargetArn"].endswith(":cardwright-events-dlq")
    assert sqs.get_queue_url(QueueName="cardwright-events-dlq")["QueueUrl"]


def test_second_seed_keeps_keys_and_secrets_and_follows_a_changed_row(aws: Running, seeded: CloudResources) -> None:
    changed = Queue(name="consume", domain="tests", queue="events", visibility_s=120, max_receives=4)
    again = seed_cloud(aws.url, [changed], {"cardwright/local/example": {"api_key": "two"}})
    try:
        assert again == seeded
        attributes = aws_client("sqs", aws.url).get_queue_attributes(
            QueueUrl=again.queues["events"], AttributeNames=["VisibilityTimeout"]
        )
        assert attributes["Attributes"]["VisibilityTimeout"] == "120"
        stored = aws_client("secretsmanager", aws.url).get_secret_value(SecretId="cardwright/local/example")
        assert json.loads(stored["SecretString"]) == {"api_key": "one"}
    finally:
        seed_cloud(aws.url, [ROW], DOCUMENTS)


def test_people_are_random_and_published_without_more_than_the_contract_lists() -> None:
    first, second = new_people(), new_people()
    assert len(everyone(first)) == 5 + LOAD_USERS
    assert len({person["email"] for person in everyone(first)}) == len(everyone(first))
    assert first["admin"]["password"] != second["admin"]["password"]
    for person in everyone(first):
        person["user_id"] = "id"
    published = as_published(first)
    assert set(published) == {"admin", "compliance", "support", "cardholder", "cardholder2", "load"}
    assert len(published["load"]) == LOAD_USERS
    assert set(published["admin"]) == set(published["load"][0]) == {"email", "password", "totp_secret", "user_id"}
    assert first["compliance"]["role"] == "compliance_officer"
