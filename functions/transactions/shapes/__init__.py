"""Documents of the transaction doors, a module a subject."""

from functions.transactions.shapes.exports import TransactionExportResponse
from functions.transactions.shapes.filters import FILTER_CODES, Filters
from functions.transactions.shapes.parked import CloseEventRequest, ParkedEventResponse
from functions.transactions.shapes.transactions import TransactionResponse, TransactionStoryResponse

__all__ = [
    "FILTER_CODES",
    "CloseEventRequest",
    "Filters",
    "ParkedEventResponse",
    "TransactionExportResponse",
    "TransactionResponse",
    "TransactionStoryResponse",
]
