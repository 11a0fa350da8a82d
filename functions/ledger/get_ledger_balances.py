"""GET /admin/ledger/balances"""

from functions.door import ApiCall, Reply, door
from functions.ledger import routes
from functions.ledger.shapes import CardId, LedgerBalancesResponse

endpoint = door(routes.GET_LEDGER_BALANCES)


@endpoint.operation(response=LedgerBalancesResponse, errors={404: ["card_not_found"]})
def get_ledger_balances(call: ApiCall, card_id: CardId) -> Reply:
    """What stands on each account of a card, by currency, summed up from its postings."""
    card = call.api.cards.get_card(call.actor, card_id)
    return Reply(LedgerBalancesResponse.of(card.card_id, call.api.ledger.balances(call.actor, card.card_id)))


handler = endpoint.handler
