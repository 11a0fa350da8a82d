"""Messages that are no events, in one queue with good ones: they end among the dead letters and hold nobody up."""

import json

from cardwright.outbox.rules import message
from tests.fakes.webhook_world import WebhookWorld
from tests.local.queue_host import Host

RECEIVES = 3
POISON = ("not json", "[]", '{"event": {"id": "x"}, "user_id": null, "card_id": null}')


def drain(twin: Host, url: str, world: WebhookWorld) -> list[list[str]]:
    """Hand batches to the worker as an event source mapping does, until the queue is empty; return the bodies of each."""
    batches: list[list[str]] = []
    while messages := twin.receive(url):
        batches.append([received["Body"] for received in messages])
        records = [
            {"messageId": received["MessageId"], "body": received["Body"], "eventSource": "aws:sqs"} for received in messages
        ]
        answered = world.worker.process_event_queue({"Records": records}, lambda: 100.0)
        failed = {failure["itemIdentifier"] for failure in answered["batchItemFailures"]}
        for received in messages:
            if received["MessageId"] not in failed:
                twin.sqs.delete_message(QueueUrl=url, ReceiptHandle=received["ReceiptHandle"])
    return batches


def test_poison_is_tried_as_often_as_the_queue_allows_and_what_came_with_it_once(twin: Host, fresh_database: str) -> None:
    dead = twin.queue()
    policy = json.dumps({"deadLetterTargetArn": twin.arn(dead), "maxReceiveCount": RECEIVES})
    url = twin.queue(RedrivePolicy=policy, VisibilityTimeout="0")
    world = WebhookWorld(fresh_database)
    user = world.add_user()
    world.subscribe(user)
    events = [world.event(user) for _ in range(5)]
    bodies = [json.dumps(message(event)) for event in events]
    twin.send(url, bodies[0], POISON[0], bodies[1], bodies[2], POISON[1], POISON[2], *bodies[3:])
    batches = drain(twin, url, world)
    received = [body for batch in batches for body in batch]
    assert {body: received.count(body) for body in POISON} == dict.fromkeys(POISON, RECEIVES)
    assert sorted(json.loads(post.body)["id"] for post in world.sender.events()) == sorted(
        str(event.event_id) for event in events
    )
    assert {row["status"] for row in world.sql("SELECT status FROM webhook_deliveries")} == {"DELIVERED"}
    assert sorted(found["Body"] for found in twin.receive(dead)) == sorted(POISON)
    world.close()
