"""Subscribers' servers in the story: made, verified, and what they have to have heard."""

import time
from collections.abc import Sequence
from typing import Any, Final

from local.demo.client import Client, require
from local.receiver import Receiver

EVENTS: Final = tuple(
    "card.created card.frozen card.unfrozen card.limits_updated card.cancelled card.replaced "
    "transaction.authorized transaction.declined transaction.cleared transaction.reversed transaction.refunded "
    "transaction.expired transaction.force_posted".split()
)
DELIVERED_WITHIN_S: Final = 30.0
_VERIFIED_WITHIN_S: Final = 20.0
# Each look is a call, and a user has a hundred of them a minute.
_LOOK_S: Final = 0.3


class Subscriber:
    """A server of hers and its subscription."""

    def __init__(self, client: Client, receiver: Receiver) -> None:
        """`receiver` listens already; nothing is subscribed yet."""
        self._client = client
        self.receiver = receiver
        self.path = ""

    def subscribe(self, **wanted: Any) -> None:
        """Subscribe to every event, or as `wanted` says, and wait until the challenge was answered. Raises StoryError."""
        body = {"url": self.receiver.url, "event_types": list(EVENTS), **wanted}
        made = self._client.post("/webhooks/subscriptions", body, status=201)
        self.receiver.trust(made["secret"])
        self.path = f"/webhooks/subscriptions/{made['id']}"
        status, deadline = made["status"], time.monotonic() + _VERIFIED_WITHIN_S
        while status == "PENDING_VERIFICATION" and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
            status = self.status()
        require("verifying the subscription", "ACTIVE", status)

    def status(self) -> str:
        """Where the subscription stands."""
        return str(self._client.get(self.path)["status"])

    def heard(self, event_ids: Sequence[str], times: int = 1) -> None:
        """Wait until these events were taken so often. Raises StoryError."""
        taken = self.receiver.taken
        self.receiver.wait(lambda: all(one in taken and taken[one].times >= times for one in event_ids), DELIVERED_WITHIN_S)
        missing = [one for one in event_ids if one not in taken or taken[one].times < times]
        require(f"events that did not arrive {times} times", [], missing)

    def attempts(self) -> list[tuple[str, int]]:
        """Of each delivery, its status and how many attempts were made."""
        found = self._client.get(f"{self.path}/deliveries", limit=50)["data"]
        return [(one["status"], len(one["attempts"])) for one in found]

    def job_done(self, job: dict[str, Any]) -> dict[str, Any]:
        """Wait until a replay is done. Raises StoryError."""
        deadline = time.monotonic() + DELIVERED_WITHIN_S
        while job["status"] != "DONE" and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
            job = self._client.get(f"{self.path}/replays/{job['id']}")
        require("the replay", "DONE", job["status"])
        return job
