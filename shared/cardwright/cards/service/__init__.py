"""Use cases of cards."""

from cardwright.cards.rules import CardWish, Origin
from cardwright.cards.service.batches import BatchItem
from cardwright.cards.service.cards import CardService
from cardwright.cards.service.drift import finding_gauges
from cardwright.cards.service.guarding import GuardedProcessor
from cardwright.cards.service.issuing import IssueCard
from cardwright.cards.service.reveals import Reveal
from cardwright.cards.service.states import StateChange
from cardwright.cards.service.tools import LEASE, CardTools, KycStatuses
from cardwright.cards.store.cards import CardFilter
from cardwright.cards.store.limits import Spend

__all__ = [
    "LEASE",
    "BatchItem",
    "CardFilter",
    "CardService",
    "CardTools",
    "CardWish",
    "GuardedProcessor",
    "IssueCard",
    "KycStatuses",
    "Origin",
    "Reveal",
    "Spend",
    "StateChange",
    "finding_gauges",
]
