"""Rules of transactions. Pure; one module a subject, all names to be had here."""

from cardwright.transactions.rules.history import CardTransaction, HistoryFilters, Scope, TransactionStatus

__all__ = ["CardTransaction", "HistoryFilters", "Scope", "TransactionStatus"]
