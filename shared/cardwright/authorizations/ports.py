"""What the engine asks of others: a risk score. Fraud rules implement it; without an implementation nothing is scored."""

from typing import Protocol

from cardwright.authorizations.rules import AuthorizationRequest, Profile


class RiskScorer(Protocol):
    """Scores a request 0-100 before the guards run, from an activity profile read in the same cache round trip."""

    def activity_key(self, card_token: str) -> str:
        """Cache key of the card's activity profile, with the hash tag {card_token}."""
        ...

    def score(self, request: AuthorizationRequest, profile: Profile, activity: bytes | None) -> int:
        """Return the risk score; pure and without I/O."""
        ...
