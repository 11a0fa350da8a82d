"""What KYC asks of a provider."""

from typing import Protocol

from cardwright.kyc.rules import Details


class KycProvider(Protocol):
    """Checks identities; its outcome comes later, as a signed event."""

    def submit(self, reference: str, details: Details, callback_url: str) -> str:
        """Hand a submission over; return the provider's own name of it.

        Raises UnavailableError (it may or may not have been taken) and ProviderRefusedError (it was not).
        """
        ...
