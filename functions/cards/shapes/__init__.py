"""Documents of the card doors, a module a subject."""

from functions.cards.shapes.batches import CardBatchRequest, CardBatchResponse
from functions.cards.shapes.cards import CardChangeRequest, CardCreateRequest, CardResponse, CardStateRequest
from functions.cards.shapes.findings import ProcessorFindingResponse
from functions.cards.shapes.limits import CardLimitsRequest, CardLimitsResponse, SignedAmount
from functions.cards.shapes.moments import ForceAfter, moment
from functions.cards.shapes.reveals import RevealRequest, RevealResponse

__all__ = [
    "CardBatchRequest",
    "CardBatchResponse",
    "CardChangeRequest",
    "CardCreateRequest",
    "CardLimitsRequest",
    "CardLimitsResponse",
    "CardResponse",
    "CardStateRequest",
    "ForceAfter",
    "ProcessorFindingResponse",
    "RevealRequest",
    "RevealResponse",
    "SignedAmount",
    "moment",
]
