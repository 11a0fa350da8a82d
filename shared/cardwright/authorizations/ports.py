"""What the engine asks of others: a risk score, and to give a hold back.

Fraud rules implement the first; without an implementation nothing is scored. The life of transactions does the second.
"""

from typing import Protocol
from uuid import UUID

from cardwright.authorizations.rules import AuthorizationRequest, Profile


class RiskScorer(Protocol):
    """Scores a request 0-100 before the guards run, from an activity profile read in the same cache round trip."""

    def activity_key(self, card_token: str) -> str:
        """Cache key of the card's activity profile, with the hash tag {card_token}."""
        ...

    def score(self, request: AuthorizationRequest, profile: Profile, activity: bytes | None) -> int:
        """Return the risk score; pure and without I/O."""
        ...


class HoldReturn(Protocol):
    """Gives back holds the network never got an approval for."""

    def void(self, card_id: UUID, transaction_id: UUID) -> bool:
        """Give a hold back, unless the network has the approval or has told of it since; harmless a second time.

        True when it was given back now. Raises UnavailableError: then nothing is known, and it is to be done again.
        """
        ...
