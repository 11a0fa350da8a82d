"""Use cases of settlement: the reconciliation that the schedule runs, and the desk where staff reads and closes its cases."""

from cardwright.settlement.service.desk import SettlementDesk
from cardwright.settlement.service.runs import Reconciliation

__all__ = ["Reconciliation", "SettlementDesk"]
