"""Holds of answers that never arrived: recorded as approved while the network was told issuer_unavailable."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta

from cardwright.authorizations.ports import HoldReturn
from cardwright.authorizations.service.entries import UNANSWERED_KEY, entry_keys, read_unanswered
from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.platform.cache import Cache
from cardwright.platform.entries import unseal

# Within this time the network asks again, and gets an answer that it has; no statement of a decision runs so long.
WAIT = timedelta(minutes=2)
PAGE = 200
# What is left of a run's time when no further entry is begun.
RESERVE_S = 10.0


class UnansweredHolds:
    """Works off what the engine remembered, under role worker. `secrets` are the engine's: they open its entries.

    An entry is removed only when its hold was seen to. Killed in between, or run twice at once, it is seen to again, which is
    harmless. A Valkey that is gone has nothing to tell: then settlement's comparison finds such holds (docs/decisions/0018).
    """

    def __init__(self, cache: Cache, holds: HoldReturn, clock: Clock, *, secrets: Callable[[], Sequence[Secret[str]]]) -> None:
        self._cache = cache
        self._holds = holds
        self._clock = clock
        self._secrets = secrets

    def reconcile(self, deadline: Callable[[], float]) -> Counter[str]:
        """Give back what nobody was told of; counts `voided`, `kept` (rightly held, or not there), `young` and `unreadable`.

        `deadline()` is the seconds left. Raises UnavailableError when Valkey or PostgreSQL do not answer; what is left is for the
        next run.
        """
        keys = entry_keys(self._secrets())
        told: Counter[str] = Counter()
        while page := self._page(told["young"]):
            for entry in page:
                if deadline() <= RESERVE_S:
                    return told
                outcome = self._settle(entry, keys)
                told[outcome] += 1
                if outcome != "young":
                    self._ask(("LREM", UNANSWERED_KEY, 1, entry))
        return told

    def _settle(self, entry: bytes, keys: Sequence[Secret[bytes]]) -> str:
        value = unseal(keys, UNANSWERED_KEY, entry)
        unanswered = None if value is None else read_unanswered(value)
        if unanswered is None:
            # Not ours: whoever can write to Valkey must not be able to have a hold given back.
            return "unreadable"
        card_id, transaction_id, at = unanswered
        if self._clock.now() - at < WAIT:
            return "young"
        return "voided" if self._holds.void(card_id, transaction_id) else "kept"

    def _page(self, start: int) -> list[bytes]:
        """The next entries, behind those that were left where they are."""
        listed = self._ask(("LRANGE", UNANSWERED_KEY, start, start + PAGE - 1))
        return [entry for entry in listed if isinstance(entry, bytes)] if isinstance(listed, list) else []

    def _ask(self, command: tuple[str | int | bytes, ...]) -> object:
        replies = self._cache.exchange([command])
        if replies is None:
            raise UnavailableError("Valkey does not answer.", code="cache_unavailable")
        return replies[0]
