"""Every function there is, in one tuple; `python -m functions` prints the map."""

from cardwright.kernel.rows import Row
from functions.authorizations import routes as authorizations
from functions.cards import routes as cards
from functions.identity import routes as identity
from functions.kyc import routes as kyc
from functions.ledger import routes as ledger
from functions.notifications import routes as notifications
from functions.operations import routes as operations
from functions.outbox import routes as outbox
from functions.programs import routes as programs
from functions.settlement import routes as settlement
from functions.transactions import routes as transactions
from functions.vault import routes as vault
from functions.webhooks import routes as webhooks

CATALOGUE: tuple[Row, ...] = (
    *identity.ROWS,
    *kyc.ROWS,
    *programs.ROWS,
    *cards.ROWS,
    *ledger.ROWS,
    *transactions.ROWS,
    *settlement.ROWS,
    *vault.ROWS,
    *authorizations.ROWS,
    *webhooks.ROWS,
    *notifications.ROWS,
    *outbox.ROWS,
    *operations.ROWS,
)
