"""Operations on queues themselves: making, naming, setting, purging and removing them."""

import re
from typing import Any, Final

from local.aws.queues import errors, settings
from local.aws.queues.arrivals import Arrivals
from local.aws.queues.directory import ACCOUNT, Answer, Caller, Directory, Request, arn_of
from local.aws.queues.store import QueueStore

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")
_PURGE_PAUSE_MS: Final = 60_000


class Administration:
    """Queue operations of SQS."""

    def __init__(self, store: QueueStore, directory: Directory, arrivals: Arrivals) -> None:
        """Administer what is in `store`."""
        self._store = store
        self._directory = directory
        self._arrivals = arrivals

    async def create_queue(self, request: Request, caller: Caller) -> Answer:
        """CreateQueue: the existing queue's URL if nothing asked for differs from it."""
        name = request.get("QueueName")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            if isinstance(name, str) and name.endswith(".fifo"):
                raise errors.unsupported("The queue twin plays standard queues only.")
            raise errors.bad_value(
                "QueueName", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 long."
            )
        wanted = settings.check(request.get("Attributes"))
        queue = self._store.find(caller.region, name)
        if queue is None:
            self._directory.check_redrive(wanted)
            tags = {str(key): str(value) for key, value in (request.get("tags") or {}).items()}
            queue = self._store.create(caller.region, name, settings.DEFAULTS | wanted, tags)
        for attribute, value in wanted.items():
            if queue.attributes.get(attribute) != value:
                raise errors.queue_exists(attribute)
        return {"QueueUrl": caller.url(queue)}

    async def get_queue_url(self, request: Request, caller: Caller) -> Answer:
        """GetQueueUrl."""
        queue = self._store.find(caller.region, str(request.get("QueueName")))
        if queue is None or request.get("QueueOwnerAWSAccountId", ACCOUNT) != ACCOUNT:
            raise errors.no_such_queue()
        return {"QueueUrl": caller.url(queue)}

    async def list_queues(self, request: Request, caller: Caller) -> Answer:
        """ListQueues, paged only when MaxResults is given, as in SQS."""
        prefix = request.get("QueueNamePrefix") or ""
        names = [queue for queue in self._store.names(caller.region) if queue.name.startswith(prefix)]
        after = request.get("NextToken")
        if after:
            names = [queue for queue in names if queue.name > after]
        most = settings.check_range("MaxResults", request.get("MaxResults", 1_000), 1, 1_000)
        answer: dict[str, Any] = {"QueueUrls": [caller.url(queue) for queue in names[:most]]} if names else {}
        if "MaxResults" in request and len(names) > most:
            answer["NextToken"] = names[most - 1].name
        return answer

    async def delete_queue(self, request: Request, caller: Caller) -> Answer:
        """DeleteQueue, with everything in it; receivers waiting on it are told."""
        queue = self._directory.queue(request, caller)
        self._store.delete(queue)
        self._arrivals.announce(queue.id)
        return {}

    async def purge_queue(self, request: Request, caller: Caller) -> Answer:
        """PurgeQueue, at most once in 60 seconds as SQS has it."""
        queue = self._directory.queue(request, caller)
        if self._store.now_ms() - queue.purged_ms < _PURGE_PAUSE_MS:
            raise errors.purge_running()
        self._store.purge(queue)
        return {}

    async def get_queue_attributes(self, request: Request, caller: Caller) -> Answer:
        """GetQueueAttributes."""
        queue = self._directory.queue(request, caller)
        wanted = set(request.get("AttributeNames") or [])
        for name in sorted(wanted - settings.READABLE):
            raise errors.bad_attribute_name(name)
        known = {
            **{name: value for name, value in queue.attributes.items() if value},
            "QueueArn": arn_of(queue),
            "CreatedTimestamp": str(queue.created_ms // 1_000),
            "LastModifiedTimestamp": str(queue.modified_ms // 1_000),
        }
        if wanted & {"All", *settings.COUNTED}:
            known |= {name: str(count) for name, count in self._store.counts(queue).items()}
        found = known if "All" in wanted else {name: value for name, value in known.items() if name in wanted}
        return {"Attributes": found} if found else {}

    async def set_queue_attributes(self, request: Request, caller: Caller) -> Answer:
        """SetQueueAttributes; messages already in flight keep the visibility they were received with."""
        queue = self._directory.queue(request, caller)
        changed = settings.check(request.get("Attributes"))
        self._directory.check_redrive(changed)
        self._store.change(queue, queue.attributes | changed, queue.tags)
        return {}

    async def list_dead_letter_source_queues(self, request: Request, caller: Caller) -> Answer:
        """ListDeadLetterSourceQueues: which queues send their dead letters here."""
        return {"queueUrls": [caller.url(queue) for queue in self._directory.sources(self._directory.queue(request, caller))]}

    async def list_queue_tags(self, request: Request, caller: Caller) -> Answer:
        """ListQueueTags."""
        tags = self._directory.queue(request, caller).tags
        return {"Tags": tags} if tags else {}

    async def tag_queue(self, request: Request, caller: Caller) -> Answer:
        """TagQueue."""
        queue = self._directory.queue(request, caller)
        added = {str(key): str(value) for key, value in (request.get("Tags") or {}).items()}
        self._store.change(queue, queue.attributes, queue.tags | added)
        return {}

    async def untag_queue(self, request: Request, caller: Caller) -> Answer:
        """UntagQueue."""
        queue = self._directory.queue(request, caller)
        gone = set(request.get("TagKeys") or [])
        self._store.change(queue, queue.attributes, {key: value for key, value in queue.tags.items() if key not in gone})
        return {}
