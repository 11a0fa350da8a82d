"""Operations on messages: sending, receiving, hiding and deleting them, alone and in batches."""

import re
import time
from collections.abc import Callable
from typing import Any, Final

from local.aws.queues import errors, settings
from local.aws.queues.arrivals import Arrivals
from local.aws.queues.contents import (
    LARGEST_PAYLOAD_BYTES,
    check_attributes,
    check_body,
    md5_of_attributes,
    md5_of_body,
    payload_bytes,
    selected,
)
from local.aws.queues.directory import ACCOUNT, Answer, Caller, Directory, Request, arn_of_name
from local.aws.queues.store import Draft, Queue, QueueStore, Received

_ENTRY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")
_RECEIPT: Final = re.compile(r"(\d{1,15}):([0-9a-f]{24})")
_LARGEST_BATCH: Final = 10


class Delivery:
    """Message operations of SQS."""

    def __init__(self, store: QueueStore, directory: Directory, arrivals: Arrivals) -> None:
        """Deliver what is in `store`."""
        self._store = store
        self._directory = directory
        self._arrivals = arrivals

    async def send_message(self, request: Request, caller: Caller) -> Answer:
        """SendMessage."""
        queue = self._directory.queue(request, caller)
        draft = _draft(request, queue)
        if payload_bytes(draft.body, draft.attributes) > queue.seconds("MaximumMessageSize"):
            raise errors.bad_value("MessageBody", f"Message must be shorter than {queue.seconds('MaximumMessageSize')} bytes.")
        self._store.send(queue, [draft])
        self._arrivals.announce(queue.id)
        return _sent(draft)

    async def send_message_batch(self, request: Request, caller: Caller) -> Answer:
        """SendMessageBatch: each entry succeeds or fails for itself; the batch as a whole must fit in 1 MiB."""
        queue = self._directory.queue(request, caller)
        entries = _entries(request)
        drafts: dict[str, Draft] = {}
        failed = []
        total = 0
        for entry in entries:
            try:
                draft = _draft(entry, queue)
                size = payload_bytes(draft.body, draft.attributes)
                total += size
                if queue.seconds("MaximumMessageSize") < size <= LARGEST_PAYLOAD_BYTES:
                    raise errors.bad_value("MessageBody", "Message is longer than the queue allows.")
                drafts[entry["Id"]] = draft
            except errors.QueueError as error:
                failed.append(_failure(entry["Id"], error))
        if total > LARGEST_PAYLOAD_BYTES:
            raise errors.batch_too_long(total)
        if drafts:
            self._store.send(queue, list(drafts.values()))
            self._arrivals.announce(queue.id)
        return _outcome([{"Id": key, **_sent(draft)} for key, draft in drafts.items()], failed)

    async def receive_message(self, request: Request, caller: Caller) -> Answer:
        """ReceiveMessage: waits, idle, until something is due, the wait is over or the queue is gone."""
        queue = self._directory.queue(request, caller)
        count = settings.check_range("MaxNumberOfMessages", request.get("MaxNumberOfMessages", 1), 1, _LARGEST_BATCH)
        wait_s = request.get("WaitTimeSeconds")
        if wait_s is None:
            wait_s = queue.seconds("ReceiveMessageWaitTimeSeconds")
        wait_s = settings.check_range("WaitTimeSeconds", wait_s, 0, settings.LONGEST_WAIT_S)
        visibility_s = request.get("VisibilityTimeout")
        if visibility_s is not None:
            settings.check_range("VisibilityTimeout", visibility_s, 0, settings.LONGEST_VISIBILITY_S)
        deadline = time.monotonic() + wait_s
        while True:
            queue = self._directory.queue(request, caller)
            hidden_s = queue.seconds("VisibilityTimeout") if visibility_s is None else int(visibility_s)
            taken = self._store.receive(queue, count, hidden_s, self._directory.dead_letters(queue))
            left_s = deadline - time.monotonic()
            if taken or left_s <= 0:
                break
            await self._wait(queue, left_s)
        return {"Messages": [_delivery(message, request, queue) for message in taken]} if taken else {}

    async def _wait(self, queue: Queue, at_most_s: float) -> None:
        due_ms = self._store.next_due_ms(queue)
        until_due_s = (due_ms - self._store.now_ms()) / 1_000 if due_ms is not None else at_most_s
        await self._arrivals.wait(queue.id, max(0.001, min(at_most_s, until_due_s)))

    async def delete_message(self, request: Request, caller: Caller) -> Answer:
        """DeleteMessage: succeeds for a message that is gone, and for an outdated receipt without deleting anything."""
        queue = self._directory.queue(request, caller)
        self._store.remove(queue, *_receipt(request))
        return {}

    async def delete_message_batch(self, request: Request, caller: Caller) -> Answer:
        """DeleteMessageBatch."""
        queue = self._directory.queue(request, caller)

        def delete(entry: dict[str, Any]) -> None:
            self._store.remove(queue, *_receipt(entry))

        return _each(_entries(request), delete)

    async def change_message_visibility(self, request: Request, caller: Caller) -> Answer:
        """ChangeMessageVisibility."""
        self._change_visibility(self._directory.queue(request, caller), request)
        return {}

    async def change_message_visibility_batch(self, request: Request, caller: Caller) -> Answer:
        """ChangeMessageVisibilityBatch."""
        queue = self._directory.queue(request, caller)
        return _each(_entries(request), lambda entry: self._change_visibility(queue, entry))

    def _change_visibility(self, queue: Queue, entry: dict[str, Any]) -> None:
        if entry.get("VisibilityTimeout") is None:
            raise errors.missing("VisibilityTimeout")
        row, receipt = _receipt(entry)
        hidden_s = settings.check_range("VisibilityTimeout", entry["VisibilityTimeout"], 0, settings.LONGEST_VISIBILITY_S)
        if not self._store.hide(queue, row, receipt, hidden_s):
            if self._store.exists(queue, row):
                raise errors.not_in_flight()
            raise errors.bad_value("ReceiptHandle", "Message does not exist or is not available for visibility timeout change.")
        self._arrivals.announce(queue.id)


def _draft(entry: Request, queue: Queue) -> Draft:
    body = check_body(entry.get("MessageBody"))
    delay_s = entry.get("DelaySeconds")
    if delay_s is None:
        delay_s = queue.seconds("DelaySeconds")
    if entry.get("MessageGroupId") is not None or entry.get("MessageDeduplicationId") is not None:
        raise errors.unsupported("The queue twin plays standard queues without message groups.")
    trace = (entry.get("MessageSystemAttributes") or {}).get("AWSTraceHeader")
    return Draft(
        body=body,
        md5=md5_of_body(body),
        attributes=check_attributes(entry.get("MessageAttributes")),
        trace=trace["StringValue"] if trace else None,
        delay_s=settings.check_range("DelaySeconds", delay_s, 0, settings.LONGEST_DELAY_S),
    )


def _sent(draft: Draft) -> Answer:
    answer = {"MessageId": draft.message_id, "MD5OfMessageBody": draft.md5}
    if draft.attributes:
        answer["MD5OfMessageAttributes"] = md5_of_attributes(draft.attributes)
    if draft.trace:
        system = {"AWSTraceHeader": {"DataType": "String", "StringValue": draft.trace}}
        answer["MD5OfMessageSystemAttributes"] = md5_of_attributes(system)
    return answer


def _delivery(message: Received, request: Request, queue: Queue) -> Answer:
    answer: Answer = {
        "MessageId": message.message_id,
        "ReceiptHandle": message.receipt,
        "MD5OfBody": message.md5,
        "Body": message.body,
    }
    wanted = {*(request.get("AttributeNames") or []), *(request.get("MessageSystemAttributeNames") or [])}
    system = {
        "SenderId": ACCOUNT,
        "SentTimestamp": str(message.sent_ms),
        "ApproximateReceiveCount": str(message.received),
        "ApproximateFirstReceiveTimestamp": str(message.first_received_ms),
    }
    if message.trace:
        system["AWSTraceHeader"] = message.trace
    if message.source:
        system["DeadLetterQueueSourceArn"] = arn_of_name(*message.source.split(":"))
    found = {name: value for name, value in system.items() if name in wanted or "All" in wanted}
    if found:
        answer["Attributes"] = found
    attributes = selected(message.attributes, request.get("MessageAttributeNames") or [])
    if attributes:
        answer["MessageAttributes"] = attributes
        answer["MD5OfMessageAttributes"] = md5_of_attributes(attributes)
    return answer


def _receipt(entry: Request) -> tuple[int, str]:
    handle = entry.get("ReceiptHandle")
    if not handle:
        raise errors.missing("ReceiptHandle")
    match = _RECEIPT.fullmatch(str(handle))
    if match is None:
        raise errors.bad_receipt()
    return int(match[1]), match[2]


def _entries(request: Request) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = request.get("Entries") or []
    if not entries:
        raise errors.empty_batch()
    if len(entries) > _LARGEST_BATCH:
        raise errors.too_many_entries(len(entries))
    seen = set()
    for entry in entries:
        entry_id = entry.get("Id")
        if not isinstance(entry_id, str) or not _ENTRY_ID.fullmatch(entry_id):
            raise errors.bad_entry_id()
        if entry_id in seen:
            raise errors.ids_not_distinct(entry_id)
        seen.add(entry_id)
    return entries


def _each(entries: list[dict[str, Any]], apply: Callable[[dict[str, Any]], None]) -> Answer:
    done, failed = [], []
    for entry in entries:
        try:
            apply(entry)
            done.append({"Id": entry["Id"]})
        except errors.QueueError as error:
            failed.append(_failure(entry["Id"], error))
    return _outcome(done, failed)


def _failure(entry_id: str, error: errors.QueueError) -> dict[str, Any]:
    return {"Id": entry_id, "SenderFault": True, "Code": error.code, "Message": error.message}


def _outcome(done: list[dict[str, Any]], failed: list[dict[str, Any]]) -> Answer:
    return {key: rows for key, rows in (("Successful", done), ("Failed", failed)) if rows}
