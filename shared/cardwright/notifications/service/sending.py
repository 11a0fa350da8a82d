"""The sending of leased messages: many at once, each with an outcome that is recorded."""

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import ProviderRefusedError, UnavailableError
from cardwright.notifications import rules
from cardwright.notifications.ports import Address, Contacts, DeadAddressError, DerivedKeys, Kind, Rendered
from cardwright.notifications.rules import Because, Category, Channel, Outcome
from cardwright.notifications.service.addresses import Digests
from cardwright.notifications.service.carriers import Carriers
from cardwright.notifications.service.devices import address_field
from cardwright.notifications.service.hands import Hands
from cardwright.notifications.service.planning import LEASE, WORKER
from cardwright.notifications.service.wording import worded
from cardwright.notifications.store import devices
from cardwright.notifications.store import messages as store
from cardwright.notifications.store.messages import Lease
from cardwright.platform.metrics import emit
from cardwright.platform.postgres import Database
from cardwright.platform.telemetry import logger

# A message that starts with less than this left, in seconds, could be cut off by the function's end.
START_RESERVE_S = 20
THREADS = 16
# A message that was not held back is due when it was planned.
_HELD = timedelta(seconds=1)
_KINDS: dict[Channel, Kind] = {Channel.PUSH: "push", Channel.EMAIL: "email", Channel.SMS: "sms"}


@dataclass(frozen=True, slots=True)
class Ready:
    """A message with its words and where it goes. `digests` are those of a mail's address; `behind` waits until it has gone."""

    lease: Lease
    behind: deque[Lease]
    address: Address
    rendered: Rendered
    digests: Sequence[bytes] = ()


class MessageSender:
    """Sends what is leased, under role worker. The database is spoken to on the caller's thread, providers on others.

    A worker that dies between a provider's answer and the record of it leaves the message to be sent again, under the same id.
    """

    def __init__(self, database: Database, clock: Clock, contacts: Contacts, keys: DerivedKeys, carriers: Carriers) -> None:
        self._database = database
        self._clock = clock
        self._contacts = contacts
        self._digests = Digests(keys)
        self._carriers = carriers

    def send(self, leases: Sequence[Lease], time_left: Callable[[], float]) -> int:
        """Send the messages and record what became of each; return how many providers were asked for. `time_left` in seconds.

        Those to one mailbox or device go one after the other, in their order; warnings wait for nothing. What there is no time
        for is left to others. What could not be recorded is sent again when its lease has ended.
        """
        asked, until = 0, self._clock.now() + LEASE - timedelta(seconds=START_RESERVE_S)

        def may_start() -> bool:
            return time_left() > START_RESERVE_S and self._clock.now() <= until

        waiting = _lanes(leases)
        with Hands(self._carry, self._carriers.close, THREADS) as hands:
            while waiting or hands.flying:
                while waiting and hands.free:
                    ready = self._next(waiting.popleft(), may_start)
                    if ready is not None:
                        hands.give(ready)
                        asked += 1
                if hands.flying:
                    ready, outcome = hands.take()
                    self._record(ready.lease, ready.digests, outcome)
                    waiting.append(ready.behind)
        return asked

    def _next(self, lane: deque[Lease], may_start: Callable[[], bool]) -> Ready | None:
        """The first message of a lane that goes; what becomes of those before it is recorded."""
        while lane:
            lease = lane.popleft()
            if not may_start():
                self._release(lease)
                continue
            found = self._prepare(lease, lane)
            if isinstance(found, Ready):
                return found
            if found is not None:
                self._record(lease, (), found)
        return None

    def _prepare(self, lease: Lease, behind: deque[Lease]) -> Ready | Outcome | None:
        """The message with its words and address, or why it does not go; None when that cannot be known now."""
        try:
            return self._refusal(lease) or self._ready(lease, behind)
        except UnavailableError as error:
            logger.warning("a message could not be prepared", extra={"message_id": str(lease.message_id), "code": error.code})
            return None
        except Exception:
            # A bug or damaged data: it counts as an attempt, so that it ends.
            logger.exception("a message could not be prepared", extra={"message_id": str(lease.message_id)})
            return Outcome("internal_error", retry=True)

    def _refusal(self, lease: Lease) -> Outcome | None:
        if not self._carriers.carries(_KINDS[lease.channel]):
            return Outcome("no_provider", suppressed=True)
        # Wishes may have changed while it was held back. A digest holds what was gathered when it was wanted.
        if lease.template is not None and not lease.preferences.wants(lease.category, lease.channel):
            return Outcome("switched_off", suppressed=True)
        return None

    def _ready(self, lease: Lease, behind: deque[Lease]) -> Ready | Outcome:
        kind = _KINDS[lease.channel]
        if kind != "email":
            if lease.address_sealed is None or lease.address_digest is None:
                return Outcome("device_gone", suppressed=True)
            opened = self._contacts.open(lease.user_id, address_field(lease.address_digest), lease.address_sealed)
            if opened is None:
                return Outcome("no_address", suppressed=True)
            return Ready(lease, behind, Address(kind, opened, lease.device_id), self._rendered(lease))
        email = self._contacts.email(lease.user_id)
        if email is None:
            return Outcome("no_address", suppressed=True)
        digests = self._digests.of(kind, email)
        with self._database.transaction(WORKER) as tx:
            because = store.suppressed(tx, digests)
        # Who wants no mail of ours is still warned; a mailbox that is gone, or whose owner calls us spam, takes nothing at all.
        if because is not None and not (because is Because.UNSUBSCRIBED and lease.category is Category.SECURITY):
            return Outcome(f"suppressed_{because.value}", suppressed=True)
        return Ready(lease, behind, Address(kind, email), self._rendered(lease), digests)

    def _rendered(self, lease: Lease) -> Rendered:
        wishes = lease.preferences
        template, params = lease.template, lease.params
        if template is None:
            template, params = rules.DIGEST, self._gathered(lease)
        texts = rules.render(template, wishes.locale, wishes.time_zone, params)
        data = {"template": template, "category": lease.category.value}
        if lease.notification_id is not None:
            data["notification_id"] = str(lease.notification_id)
        if lease.channel is Channel.EMAIL:
            return Rendered(texts.subject, texts.email, data)
        return Rendered(None, texts.sms, data) if lease.channel is Channel.SMS else Rendered(texts.title, texts.body, data)

    def _gathered(self, lease: Lease) -> dict[str, str]:
        """What a digest is filled with: a line for each notification, in its reader's language."""
        with self._database.transaction(WORKER) as tx:
            told = store.digested(tx, lease.user_id, lease.message_id)
            count = store.count_digested(tx, lease.user_id, lease.message_id)
        texts = [worded(one.notification_id, one.template, one.params, lease.preferences) for one in told]
        gathered = {"count": str(count), "lines": "\n".join(f"{one.title}: {one.body}" for one in texts)}
        return gathered | ({"more": str(count - len(told))} if count > len(told) else {})

    def _carry(self, ready: Ready) -> Outcome:
        """Hand the message over, on a thread of its own and without the database."""
        lease = ready.lease
        try:
            sent = self._carriers.send(ready.address.kind, ready.address.value, ready.rendered, lease.message_id)
        except DeadAddressError:
            return Outcome("address_dead", dead=True)
        except ProviderRefusedError:
            return Outcome("refused")
        except UnavailableError:
            return Outcome("unavailable", retry=True)
        except Exception:
            logger.exception("a message could not be sent", extra={"message_id": str(lease.message_id)})
            return Outcome("internal_error", retry=True)
        return Outcome(rules.SENT, provider=sent.provider, provider_message_id=sent.provider_message_id)

    def _record(self, lease: Lease, digests: Sequence[bytes], outcome: Outcome) -> None:
        """Note what became of a message, and what that tells of its address. Nothing when the lease is lost."""
        now, attempts = self._clock.now(), lease.attempts + (0 if outcome.suppressed else 1)
        again = rules.next_attempt(attempts, now) if outcome.retry else None
        status = rules.status_after(outcome, again=again is not None)
        try:
            with self._database.transaction(WORKER) as tx:
                if not store.record(tx, lease, status, outcome, attempts, again, now):
                    return
                if outcome.dead and lease.device_id is not None:
                    devices.bury(tx, lease.user_id, lease.device_id, now)
                elif outcome.dead and digests:
                    store.suppress(tx, digests[0], Because.BOUNCE, now)
        except UnavailableError:
            logger.warning("the outcome of a message could not be recorded", extra={"message_id": str(lease.message_id)})
            return
        self._measure(lease, outcome, now)

    def _measure(self, lease: Lease, outcome: Outcome, now: datetime) -> None:
        emit({"NotificationMessages": (1, "Count")}, {"channel": lease.channel.value, "outcome": outcome.name}, now)
        held = lease.due_at - lease.created_at > _HELD
        if outcome.sent and lease.attempts == 0 and not held and lease.event_created_at is not None:
            delay_ms = round((now - lease.event_created_at).total_seconds() * 1000)
            emit({"NotificationDelay": (delay_ms, "Milliseconds")}, {"channel": lease.channel.value}, now)

    def _release(self, lease: Lease) -> None:
        try:
            with self._database.transaction(WORKER) as tx:
                store.release(tx, lease)
        except UnavailableError:
            logger.warning("a message could not be left to others", extra={"message_id": str(lease.message_id)})


def _lanes(leases: Sequence[Lease]) -> deque[deque[Lease]]:
    """The messages to each mailbox and device, in their order; each warning by itself."""
    lanes: dict[Hashable, deque[Lease]] = {}
    for lease in leases:
        alone = lease.category is Category.SECURITY
        lane = lease.message_id if alone else (lease.user_id, lease.channel, lease.device_id)
        lanes.setdefault(lane, deque()).append(lease)
    return deque(lanes.values())
