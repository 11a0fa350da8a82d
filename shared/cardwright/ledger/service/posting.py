"""Post to the ledger in the caller's transaction, read what stands in it, and look whether all of it holds."""

from decimal import Decimal
from uuid import UUID

from cardwright.kernel.errors import BrokenInvariantError
from cardwright.ledger import store
from cardwright.ledger.rules import Account, Discrepancy, Posting, check_posting
from cardwright.platform.postgres import Actor, Database, Transaction

# Postings that one look takes; a look is one statement.
PAGE = 5_000


def post(tx: Transaction, posting: Posting) -> bool:
    """Write a posting; True when it is new, False when it was posted before, by whomever.

    Two callers at once with one id: the second waits for the first one's transaction and finds its posting. Raises
    BrokenInvariantError for one that does not balance, and when the id stands for another posting.
    """
    check_posting(posting)
    outcome = store.post(tx, posting)
    if outcome == "differs":
        raise BrokenInvariantError("The id of a posting stands for another one.")
    return outcome == "posted"


def balances(tx: Transaction, card_id: UUID) -> dict[Account, dict[str, Decimal]]:
    """What stands on each account of a card that has entries, by currency; debits are positive."""
    return store.balances(tx, card_id)


def check(tx: Transaction) -> list[Discrepancy]:
    """Look at the whole ledger at once; what is found cannot be unless somebody wrote past the ledger. Empty is well.

    It reads every entry: the schedule goes round in pages instead (LedgerCheck).
    """
    found = store.nonzero_currencies(tx)
    place: store.Place | None = None
    while True:
        page = store.look(tx, place, PAGE)
        found += page.discrepancies
        if page.last is None:
            return found
        place = page.last


class LedgerBooks:
    """The ledger as staff reads it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def balances(self, actor: Actor, card_id: UUID) -> dict[Account, dict[str, Decimal]]:
        """The balances of a card the actor may see. Raises UnavailableError."""
        with self._database.transaction(actor) as tx:
            return store.balances(tx, card_id)

    def postings(self, actor: Actor, card_id: UUID, *, limit: int, after: UUID | None = None) -> list[Posting]:
        """Up to `limit` postings of a card the actor may see, newest first, those after `after`. Raises UnavailableError."""
        with self._database.transaction(actor) as tx:
            return store.newest(tx, card_id, limit, after)
