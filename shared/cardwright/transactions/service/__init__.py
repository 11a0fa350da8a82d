"""Use cases of transactions: what their owners see of them, and the events their rows are."""

from cardwright.transactions.service.history import TransactionService, TransactionStory
from cardwright.transactions.service.publishing import TransactionEvents
from cardwright.transactions.service.remembering import RememberedPages

__all__ = ["RememberedPages", "TransactionEvents", "TransactionService", "TransactionStory"]
