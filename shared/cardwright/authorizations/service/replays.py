"""Decisions made again from what was stored of them: the same rules over the same facts give the same answer."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from cardwright.authorizations import store
from cardwright.authorizations.rules import RULE_VERSION, AuthorizationRequest, decide, decide_counted
from cardwright.authorizations.service.records import read_request, request_digest, write_detail
from cardwright.authorizations.store import StoredDecision
from cardwright.kernel.errors import ConflictError, NotFoundError
from cardwright.platform.postgres import Actor, Database

_AUDITOR = Actor(None, "system", reason="replay")
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Replayed:
    """A stored decision beside the one made again; amounts in the card's currency.

    `again_reason` is None where what it was made on is no longer there to be read. `request_intact` is false where the row no
    longer says what was asked: its digest is another.
    """

    transaction_id: UUID
    reason: str
    approved_amount: Decimal
    again_reason: str | None
    again_amount: Decimal
    request_intact: bool

    @property
    def same(self) -> bool:
        """True when the row says what was asked and the answer is the one that was given."""
        answers_alike = (self.again_reason, self.again_amount) == (self.reason, self.approved_amount)
        return self.request_intact and answers_alike


class Replays:
    """Makes stored decisions again, with the rules of this code; under role worker."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def replay_decision(self, card_id: UUID, transaction_id: UUID) -> Replayed:
        """Make one decision again. Reads only.

        Raises NotFoundError transaction_not_found for what is no decision of ours, ConflictError rule_version_unknown for one
        made by other rules than this code has.
        """
        with self._database.transaction(_AUDITOR) as tx:
            stored = store.get_decision(tx, card_id, transaction_id)
        if stored is None:
            raise NotFoundError("There is no such decision.", code="transaction_not_found")
        if stored.row["rule_version"] != RULE_VERSION:
            raise ConflictError("The decision was made by other rules than these.", code="rule_version_unknown")
        return _replay(stored)

    def replay_card(self, card_id: UUID) -> Iterator[Replayed]:
        """Make all decisions of a card again, in the order of its chain; those made by other rules are left out."""
        after = 0
        while True:
            with self._database.transaction(_AUDITOR) as tx:
                page = store.list_decisions(tx, card_id, after, _PAGE)
            for stored in page:
                if stored.row["rule_version"] == RULE_VERSION:
                    yield _replay(stored)
            if len(page) < _PAGE:
                return
            after = page[-1].row["chain_seq"]


def _replay(stored: StoredDecision) -> Replayed:
    row = stored.row
    request = _request(stored)
    intact = request is not None and request_digest(request, write_detail(request)) == bytes(row["request_digest"])
    reason, amount = (None, Decimal("0.00")) if request is None else _decide_again(stored, request)
    return Replayed(row["transaction_id"], row["reason"], row["approved_amount"], reason, amount, intact)


def _request(stored: StoredDecision) -> AuthorizationRequest | None:
    try:
        return read_request(stored.row, stored.card_token)
    except (LookupError, TypeError, AttributeError, ArithmeticError):
        # What no request of ours can have left: somebody changed the row.
        return None


def _decide_again(stored: StoredDecision, request: AuthorizationRequest) -> tuple[str | None, Decimal]:
    if stored.profile is None or stored.allowances is None:
        return None, Decimal("0.00")
    decided_at = stored.row["decided_at"]
    reason = decide(request, stored.profile, stored.row["risk_score"], decided_at)
    if reason is not None:
        return reason, Decimal("0.00")
    return decide_counted(request, stored.profile, stored.allowances, stored.counters, decided_at)
