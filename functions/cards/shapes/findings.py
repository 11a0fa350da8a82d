"""Documents of findings: what differs between the processor's cards and ours."""

from typing import Self
from uuid import UUID

from pydantic import BaseModel, Field

from cardwright.cards.rules import FindingKind
from cardwright.cards.rules.drift import ProcessorFinding
from cardwright.http.fields import Timestamp


class ProcessorFindingResponse(BaseModel):
    """Something that was not as it must be with one card at the processor. Neither its token nor its number is told."""

    id: UUID
    kind: FindingKind
    card_id: UUID | None = Field(
        description="The card. With `unknown_at_processor` what the processor's reference says, which need not be a card of ours."
    )
    found_at: Timestamp
    seen_at: Timestamp = Field(description="When it was last found to be so.")
    mended_at: Timestamp | None = Field(description="When it was found or made to be so no more; null while it is open.")

    @classmethod
    def of(cls, finding: ProcessorFinding) -> Self:
        """The finding as it is kept."""
        return cls(
            id=finding.finding_id,
            kind=finding.kind,
            card_id=finding.card_id,
            found_at=finding.found_at,
            seen_at=finding.seen_at,
            mended_at=finding.mended_at,
        )
