"""A world with a subscription, and a worker that replays to it."""

from datetime import timedelta
from uuid import UUID

from cardwright.outbox.rules import Event
from cardwright.platform.postgres import Actor
from cardwright.webhooks.rules import Replay, Subscription
from cardwright.webhooks.service import ReplayRequest, Replays
from tests.fakes.webhook_world import WebhookWorld

DAY = timedelta(days=1)


class ReplayWorld(WebhookWorld):
    """A subscription to card.created of a cardholder, and a worker that replays."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.user = self.add_user()
        self.subscription, _ = self.subscribe(self.user)
        self.replays = Replays(self.worker_database, self.clock, self.ids)
        # What it missed before it was verified: nothing.
        self.drain()

    def events(self, count: int, *, deliver: bool = True) -> list[Event]:
        """Events of the user, a second apart, in the feed and delivered."""
        made = []
        for _ in range(count):
            made.append(self.happen(self.user))
            self.advance(seconds=1)
        if deliver:
            self.consume(*made)
        return made

    def ask(
        self, wanted: ReplayRequest, *, actor: Actor | None = None, of: Subscription | None = None, operation: UUID | None = None
    ) -> Replay:
        """Ask for a replay."""
        target = (of or self.subscription).subscription_id
        return self.subscriptions.replay(actor or self.user, target, wanted, operation or self.ids.new())

    def ask_day(self, *, only_missed: bool = False) -> Replay:
        """Ask for all of the last day."""
        return self.ask(ReplayRequest(since=self.clock.now() - DAY, only_missed=only_missed))

    def state(self, replay: Replay) -> Replay:
        """The replay as it is now."""
        return self.subscriptions.get_replay(self.user, self.subscription.subscription_id, replay.replay_id)

    def drain(self, limit: int = 200) -> None:
        """Work off what can be worked off."""
        while self.sql("SELECT 1 FROM webhook_replays WHERE status IN ('QUEUED', 'RUNNING')"):
            self.replays.step(limit)

    def rounds(self) -> dict[UUID, tuple[int, str]]:
        """Where each event's round begins and how its delivery stands."""
        rows = self.sql("SELECT event_id, round_start, status FROM webhook_deliveries")
        return {row["event_id"]: (row["round_start"], row["status"]) for row in rows}
