"""GET /admin/ledger/postings"""

from cardwright.http.paging import CursorText, Limit, Page
from functions.door import ApiCall, Reply, door
from functions.ledger import routes
from functions.ledger.shapes import CardId, PostingResponse

endpoint = door(routes.LIST_LEDGER_POSTINGS)


@endpoint.operation(response=Page[PostingResponse], errors={400: ["cursor_invalid"], 404: ["card_not_found"]})
def list_ledger_postings(call: ApiCall, card_id: CardId, limit: Limit = 50, cursor: CursorText = None) -> Reply:
    """The postings of a card with their entries, newest first."""
    list_name = f"ledger postings {card_id}"
    after = call.after(list_name, cursor)
    card = call.api.cards.get_card(call.actor, card_id)
    postings = call.api.ledger.postings(call.actor, card.card_id, limit=limit + 1, after=after)
    shown, pagination = call.page(postings, limit, lambda posting: posting.posting_id, list_name)
    return Reply(Page[PostingResponse](data=[PostingResponse.of(posting) for posting in shown], pagination=pagination))


handler = endpoint.handler
