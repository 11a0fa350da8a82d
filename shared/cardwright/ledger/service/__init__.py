"""The ledger: posted to in the callers' transactions, read by staff, looked over by a schedule."""

from cardwright.ledger.service.checking import SCHEDULE, LedgerCheck
from cardwright.ledger.service.posting import LedgerBooks, balances, check, post

__all__ = ["SCHEDULE", "LedgerBooks", "LedgerCheck", "balances", "check", "post"]
