"""Documents of the settlement doors."""

from decimal import Decimal
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints, WithJsonSchema

from cardwright.http.fields import StrictModel, Timestamp, without_card_number
from cardwright.settlement.rules import Case, CaseKind, CaseState, Run

_Signed = Annotated[
    Decimal,
    PlainSerializer(lambda value: f"{value:.2f}", return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]{1,14}\.[0-9]{2}$", "examples": ["12.34"]}),
]
Note = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]*$"),
    AfterValidator(without_card_number),
]


class CaseCloseRequest(StrictModel):
    """What was done about a case."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"note": "The processor confirmed a second presentment; disputed."}]}
    )

    note: Note = Field(description="One line, kept in the audit log.")


class SettlementCaseResponse(BaseModel):
    """Something that is not the same at the processor's and with us. Amounts are in their currency; neither side's is changed."""

    id: UUID
    kind: CaseKind
    state: CaseState
    card_id: UUID | None
    transaction_id: UUID | None
    authorization_id: str | None
    event_id: str | None
    file_id: str | None
    line: int | None = Field(description="The line of the file, from 1.")
    our_amount: _Signed | None = Field(description="What we have; with `ledger_differs` what is kept on the card's spend row.")
    their_amount: _Signed | None = Field(
        description="What the processor says; with `ledger_differs` what the card's transactions and postings add up to."
    )
    difference: _Signed | None = Field(description="Theirs less ours.")
    currency: str | None = Field(description="Of our amount.")
    their_currency: str | None
    found_at: Timestamp
    seen_at: Timestamp = Field(description="When it was last found to be so.")
    closed_at: Timestamp | None
    closed_how: str | None = Field(description="`mended`: it was found to be so no more. `by_hand`: somebody closed it.")
    note: str | None

    @classmethod
    def of(cls, case: Case) -> Self:
        """The document of a case."""
        return cls(
            id=case.case_id,
            kind=case.kind,
            state=case.state,
            card_id=case.card_id,
            transaction_id=case.transaction_id,
            authorization_id=case.authorization_id,
            event_id=case.event_id,
            file_id=case.file_id,
            line=case.line,
            our_amount=case.our_amount,
            their_amount=case.their_amount,
            difference=case.difference,
            currency=case.currency,
            their_currency=case.their_currency,
            found_at=case.found_at,
            seen_at=case.seen_at,
            closed_at=case.closed_at,
            closed_how=case.closed_how,
            note=case.note,
        )


class SettlementRunResponse(BaseModel):
    """One run. It goes on where the one before ended, so a long file takes several."""

    id: UUID
    started_at: Timestamp
    finished_at: Timestamp | None = Field(description="Null while it is under way, and of one that was killed.")
    failure: str | None = Field(description="The code of what broke it off; null where nothing did.")
    transactions: int = Field(description="Authorizations of the processor's list that were compared.")
    lines: int = Field(description="Lines of settlement files that were dealt with.")
    settled: int = Field(description="Lines that were posted to the ledger.")
    mended: int = Field(description="Events taken that had never come, and holds given back.")
    cases_opened: int
    cases_closed: int = Field(description="Cases that were found to be well.")

    @classmethod
    def of(cls, run: Run) -> Self:
        """The document of a run."""
        return cls(
            id=run.run_id,
            started_at=run.started_at,
            finished_at=run.finished_at,
            failure=run.failure,
            transactions=run.transactions,
            lines=run.lines,
            settled=run.settled,
            mended=run.mended,
            cases_opened=run.cases_opened,
            cases_closed=run.cases_closed,
        )
