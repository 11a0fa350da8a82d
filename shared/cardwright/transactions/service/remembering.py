"""Lists that are asked for often, kept for five minutes under a name that tells their state: none is ever stale."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from cardwright.kernel.secret import Secret
from cardwright.platform.cache import Cache
from cardwright.platform.entries import seal, unseal
from cardwright.transactions.rules.history import CardTransaction, HistoryFilters, Scope, TransactionStatus

KEPT_S = 300
# Of the entry, not of the rows: it changes when what is kept of a transaction does.
_FORM = 1
# A page of 200 transactions is some 200 KB; what is larger is read anew.
_LARGEST = 512 * 1024
_NAMES = tuple(field.name for field in fields(CardTransaction))
_AMOUNTS = tuple(name for name in _NAMES if name == "amount" or name.endswith("_amount"))
_MOMENTS = ("hold_expires_at", "decided_at", "updated_at")


class RememberedPages:
    """First pages of lists in Valkey, sealed (platform.entries): what we did not write counts as nothing. `keys` seal them."""

    def __init__(self, cache: Cache, keys: Callable[[], Sequence[Secret[bytes]]]) -> None:
        self._cache = cache
        self._keys = keys

    def get(self, name: str) -> list[CardTransaction] | None:
        """The page kept under a name; None for none, for one that is not ours, and when the cache does not answer."""
        replies = self._cache.exchange([("GET", name)])
        entry = None if replies is None else replies[0]
        if not isinstance(entry, bytes):
            return None
        value = unseal(self._keys(), name, entry)
        return None if value is None else _read(value)

    def put(self, name: str, page: Sequence[CardTransaction]) -> None:
        """Keep a page for KEPT_S, without waiting for it."""
        value = json.dumps([_plain(one) for one in page], separators=(",", ":")).encode()
        if len(value) <= _LARGEST:
            self._cache.send([("SET", name, seal(self._keys(), name, value), "EX", KEPT_S)])


def page_name(scope: Scope, filters: HistoryFilters, limit: int, versions: tuple[int, int]) -> str:
    """The cache key of a list's first page at the state that `versions` (cards, changes of their transactions) names."""
    whose = f"card:{scope.card_id}" if scope.card_id is not None else f"user:{scope.user_id}"
    asked = json.dumps([_FORM, filters.document(), limit, versions], sort_keys=True, separators=(",", ":"))
    return f"history:{{{whose}}}:{hashlib.sha256(asked.encode()).hexdigest()}"


def _plain(transaction: CardTransaction) -> dict[str, object]:
    told = {name: getattr(transaction, name) for name in _NAMES}
    for name, value in told.items():
        if isinstance(value, datetime):
            told[name] = value.isoformat()
        elif isinstance(value, Decimal | UUID):
            told[name] = str(value)
    return told


def _read(value: bytes) -> list[CardTransaction]:
    page = []
    for told in json.loads(value):
        for name in _AMOUNTS:
            told[name] = Decimal(told[name])
        for name in _MOMENTS:
            told[name] = None if told[name] is None else datetime.fromisoformat(told[name])
        told["card_id"], told["transaction_id"] = UUID(told["card_id"]), UUID(told["transaction_id"])
        told["status"], told["flags"] = TransactionStatus(told["status"]), tuple(told["flags"])
        page.append(CardTransaction(**told))
    return page
