"""Documents the KYC doors share."""

from cardwright.http.fields import StrictModel, Timestamp
from cardwright.kyc.rules import KycStatus
from cardwright.kyc.service import KycCase


class KycResponse(StrictModel):
    """How far the caller's identity check is."""

    status: KycStatus
    submitted_at: Timestamp | None
    decided_at: Timestamp | None

    @classmethod
    def of(cls, case: KycCase) -> "KycResponse":
        """Show a case."""
        return cls(status=case.status, submitted_at=case.submitted_at, decided_at=case.decided_at)
