"""A card as everybody but the vault knows it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cardwright.cards.rules.funds import Funds
from cardwright.cards.rules.issuing import Expiry, Usage
from cardwright.cards.rules.limits import AllowDeny, Controls, Limits
from cardwright.cards.rules.states import CardStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A card. `status_actor_role` and `status_reason_code` tell who gave it its status, and why.

    `cancel_after`: cancelled then at the latest. `version` rises with every change of status, limits or label. `funds` None:
    its limits alone fund it.
    """

    card_id: UUID
    user_id: UUID
    program_id: UUID
    status: CardStatus
    status_reason_code: str | None = None
    status_actor_role: str | None = None
    last_four: str
    processor_card_token: str
    expiry: Expiry
    currency: str
    label: str | None
    usage: Usage
    controls: Controls
    funds: Funds | None = None
    replaces_card_id: UUID | None = None
    replaced_by_card_id: UUID | None = None
    cancel_after: datetime | None = None
    limits_version: int = 1
    processor_limits_version: int = 1
    version: int
    last_operation_id: UUID
    created_at: datetime
    updated_at: datetime

    @property
    def limits(self) -> Limits:
        """Most it may spend."""
        return self.controls.limits

    @property
    def merchant_categories(self) -> AllowDeny:
        """Merchant categories it is held to."""
        return self.controls.merchant_categories


def profile_key(processor_card_token: str) -> str:
    """Cache key of the authorization engine's profile of a card; the braces are the cluster's hash tag."""
    return f"card:{{{processor_card_token}}}:profile"
