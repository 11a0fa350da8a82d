"""GET /admin/cards"""

from typing import Annotated
from uuid import UUID

from fastapi import Query

from cardwright.cards.rules import CardStatus
from cardwright.cards.service import CardFilter
from cardwright.http.paging import CursorText, Limit, Page
from functions.cards import routes
from functions.cards.shapes import CardResponse
from functions.door import ApiCall, Reply, door

endpoint = door(routes.SEARCH_CARDS)


@endpoint.operation(response=Page[CardResponse], errors={400: ["cursor_invalid"]})
def search_cards(
    call: ApiCall,
    user_id: UUID | None = None,
    status: CardStatus | None = None,
    program_id: UUID | None = None,
    last_four: Annotated[str | None, Query(pattern=r"^[0-9]{4}$")] = None,
    limit: Limit = 50,
    cursor: CursorText = None,
) -> Reply:
    """Cards of everybody, newest first, by owner, status, program or last four digits."""
    list_name = f"all cards {user_id} {status} {program_id} {last_four}"
    wanted = CardFilter(user_id=user_id, status=status, program_id=program_id, last_four=last_four)
    cards = call.api.cards.list_cards(call.actor, limit=limit + 1, after=call.after(list_name, cursor), wanted=wanted)
    shown, pagination = call.page(cards, limit, lambda card: card.card_id, list_name)
    data = [CardResponse.of(card, call.principal, call.api.settings) for card in shown]
    return Reply(Page[CardResponse](data=data, pagination=pagination))


handler = endpoint.handler
