"""Versions of the event schemas. A subscription keeps the one it was made for; newer ones change nothing for it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from cardwright.outbox.rules import API_VERSION, EVENT_TYPES, Event, envelope

Document = Mapping[str, object]
# What becomes of an event for subscribers of a version; None for a type that version does not know.
Rendering = Callable[[Event], Document | None]

CURRENT = API_VERSION


def _current(event: Event) -> Document | None:
    return envelope(event) if event.type in EVENT_TYPES else None


# Every version that was ever published, each with what makes its documents out of today's events. A new one is added here and the
# function of the one before then takes its document back to what it was.
_RENDERINGS: Mapping[str, Rendering] = MappingProxyType({CURRENT: _current})
SUPPORTED = frozenset(_RENDERINGS)


def render(event: Event, version: str) -> Document | None:
    """The event as a subscriber of the version sees it; None when the version does not know its type.

    Raises KeyError for a version that was never published.
    """
    return _RENDERINGS[version](event)
