"""What vendors' lists of cards share: our card id as a reference, and pages that begin at the newest card."""

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from cardwright.cards.rules import ProcessorCard, ProcessorPage
from cardwright.providers.answers import processor_unavailable

PAGE = 100
_DOWN, _UP = "down", "up"


def read_reference(text: str | None) -> UUID | None:
    """Our card id, where the reference is one as we write it; another party's card may carry any text."""
    try:
        card_id = UUID(text or "")
    except ValueError:
        return None
    return card_id if text == str(card_id) else None


def page_upwards(cursor: str | None, fetch: Callable[[Mapping[str, str]], tuple[Sequence[ProcessorCard], bool]]) -> ProcessorPage:
    """One page, the earliest first, of a party that lists the newest first and pages by token.

    `fetch` takes nothing, `starting_after` or `ending_before`; it returns cards, the newest first, and whether more lie that way.
    The way to the earliest card leads over pages that are answered empty, with a cursor that goes on.
    Raises UnavailableError processor_unavailable when the party contradicts itself.
    """
    way, _, token = (cursor or "").partition(":")
    if way == _UP:
        cards, more = fetch({"ending_before": token})
    else:
        cards, older = fetch({"starting_after": token} if token else {})
        if older and cards:
            return ProcessorPage((), f"{_DOWN}:{cards[-1].token}")
        # What was passed on the way down is newer than this page.
        more = older or bool(token)
    if more and not cards:
        raise processor_unavailable()
    return ProcessorPage(tuple(reversed(cards)), f"{_UP}:{cards[0].token}" if more else None)
