"""Lithic as issuer processor, through its SDK."""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Literal, Protocol
from uuid import UUID

import httpx
from lithic import APIStatusError, Lithic, LithicError, omit
from lithic.resources.cards import CardsWithRawResponse
from pydantic import BaseModel, ConfigDict, Field

from cardwright.cards.rules import Expiry, IssuedCard, Limits, ProcessorCard, ProcessorPage, ProcessorState
from cardwright.kernel.errors import ProviderRefusedError
from cardwright.kernel.secret import Secret
from cardwright.providers.amounts import minor_units
from cardwright.providers.answers import processor_fault, processor_unavailable, read_processor
from cardwright.providers.keys import Credentials, with_keys
from cardwright.providers.listing import PAGE, page_upwards, read_reference

# LITHIC_LOG=debug would write requests and headers; this level is set after the SDK has read that variable.
logging.getLogger("lithic").setLevel(logging.WARNING)

_TIMEOUT = httpx.Timeout(8, connect=3)
# A freeze has its effect here already: its caller does not wait long for the processor.
_SWITCH_TIMEOUT = httpx.Timeout(2, connect=1)
_Switch = Literal["OPEN", "PAUSED", "CLOSED"]
_SWITCHES: dict[ProcessorState, _Switch] = {
    ProcessorState.ACTIVE: "OPEN",
    ProcessorState.PAUSED: "PAUSED",
    ProcessorState.CLOSED: "CLOSED",
}
# A physical card on its way can be used on line already.
_STATES = {
    "OPEN": ProcessorState.ACTIVE,
    "PENDING_FULFILLMENT": ProcessorState.ACTIVE,
    "PENDING_ACTIVATION": ProcessorState.ACTIVE,
    "PAUSED": ProcessorState.PAUSED,
    "CLOSED": ProcessorState.CLOSED,
}
_NO_LIMIT = 0


class _Answer(Protocol):
    @property
    def http_response(self) -> httpx.Response: ...


class _Program(BaseModel):
    """What a program of ours is at Lithic."""

    model_config = ConfigDict(extra="forbid")

    card_program_token: UUID | None = None
    account_token: UUID | None = None


class _Card(BaseModel):
    token: str = Field(min_length=1, max_length=200)
    state: Literal["OPEN", "PAUSED", "CLOSED", "PENDING_FULFILLMENT", "PENDING_ACTIVATION"]
    memo: str | None = None

    def listed(self) -> ProcessorCard:
        """As the port tells it."""
        return ProcessorCard(self.token, read_reference(self.memo), _STATES[self.state])


class _NewCard(_Card):
    pan: str = Field(min_length=1, repr=False)
    last_four: str
    exp_month: str = Field(pattern=r"^[0-9]{2}$")
    exp_year: str = Field(pattern=r"^[0-9]{4}$")
    cardholder_currency: str | None = None


class _Page(BaseModel):
    data: list[_Card]
    has_more: bool


class LithicProcessor:
    """Virtual cards of Lithic. `credentials` is asked at each call, so that keys may rotate.

    Settings, each of them optional: {"default": {"card_program_token", "account_token"}, "programs": {"<our program id>": {the
    same}}}; what is not said is Lithic's own default. The account's keys must be allowed to see card numbers (PCI DSS).

    Our card id is the idempotency key, and the card's memo, by which it is found again. Lithic does not say for how long it
    remembers a key: whoever finishes an issuance much later asks `find_card` first.
    """

    name = "lithic"

    def __init__(self, url: str, credentials: Callable[[], Credentials], *, transport: httpx.BaseTransport | None = None) -> None:
        self._credentials = credentials
        # No proxies or certificates from the environment: answers carry card numbers. Tries again are made by our own retries.
        http = httpx.Client(timeout=_TIMEOUT, trust_env=False, transport=transport)
        self._lithic = Lithic(api_key="", base_url=url.rstrip("/"), http_client=http, max_retries=0, timeout=_TIMEOUT)

    def create_card(
        self, *, card_id: UUID, program_id: UUID, bin_prefix: str, currency: str, expiry: Expiry, limits: Limits
    ) -> IssuedCard:
        """Make a card; BIN and currency are those of the card program. Raises UnavailableError, ProviderRefusedError."""
        credentials = self._credentials()
        program = credentials.of_program(program_id, _Program)
        body = self._ask(
            lambda cards: cards.create(
                type="VIRTUAL",
                state="OPEN",
                memo=str(card_id),
                exp_month=f"{expiry.month:02d}",
                exp_year=f"{expiry.year:04d}",
                spend_limit=_spend_limit(limits.per_transaction, currency),
                spend_limit_duration="TRANSACTION",
                card_program_token=str(program.card_program_token) if program.card_program_token else omit,
                account_token=str(program.account_token) if program.account_token else omit,
                extra_headers={"Idempotency-Key": str(card_id)},
            ),
            credentials=credentials,
        )
        card = read_processor(body, _NewCard)
        return IssuedCard(
            token=card.token,
            pan=Secret(card.pan),
            last_four=card.last_four,
            expiry=Expiry(int(card.exp_year), int(card.exp_month)),
            currency=card.cardholder_currency or currency,
        )

    def set_state(self, token: str, state: ProcessorState) -> None:
        """Switch a card. Raises UnavailableError, ProviderRefusedError."""
        try:
            self._change(lambda cards: cards.update(token, state=_SWITCHES[state]))
        except ProviderRefusedError:
            # A closed card takes no change, also not to what it is.
            if self._state(token) is not state:
                raise

    def set_limits(self, token: str, limits: Limits, currency: str) -> None:
        """Tell the limit per transaction: Lithic has one limit a card, and its months are other than ours.

        Raises UnavailableError, ProviderRefusedError.
        """
        limit = _spend_limit(limits.per_transaction, currency)
        self._change(lambda cards: cards.update(token, spend_limit=limit, spend_limit_duration="TRANSACTION"))

    def find_card(self, card_id: UUID) -> ProcessorCard | None:
        """Return the earliest card whose memo is our card id. Raises UnavailableError, ProviderRefusedError."""
        # The list takes a part of a memo: a whole one has to be looked for.
        body = self._ask(lambda cards: cards.list(memo=str(card_id), page_size=PAGE))
        found = [card.listed() for card in read_processor(body, _Page).data]
        return next((card for card in reversed(found) if card.card_id == card_id), None)

    def list_cards(self, cursor: str | None) -> ProcessorPage:
        """Return a page of cards, the earliest first; see `page_upwards`. Raises UnavailableError, ProviderRefusedError."""

        def fetch(place: Mapping[str, str]) -> tuple[list[ProcessorCard], bool]:
            page = read_processor(self._ask(lambda cards: cards.list(page_size=PAGE, extra_query=place)), _Page)
            return [card.listed() for card in page.data], page.has_more

        return page_upwards(cursor, fetch)

    def reveal_url(self, token: str, *, expires_at: datetime, origins: Iterable[str]) -> str:
        """Return a signed URL of Lithic's view; Lithic takes one origin, the first, and lets the view be loaded until it expires.

        No call is made, so that neither a card nor a key that Lithic does not know is noticed.
        """
        client = self._lithic.with_options(api_key=self._credentials().api_keys[0].reveal())
        origin = next(iter(origins), None)
        return str(client.cards.get_embed_url(token=token, expiration=expires_at, target_origin=origin or omit))

    def _state(self, token: str) -> ProcessorState:
        body = self._ask(lambda cards: cards.retrieve(token), timeout=_SWITCH_TIMEOUT)
        return _STATES[read_processor(body, _Card).state]

    def _change(self, ask: Callable[[CardsWithRawResponse], _Answer]) -> None:
        read_processor(self._ask(ask, timeout=_SWITCH_TIMEOUT), _Card)

    def _ask(
        self,
        ask: Callable[[CardsWithRawResponse], _Answer],
        *,
        credentials: Credentials | None = None,
        timeout: httpx.Timeout = _TIMEOUT,
    ) -> bytes:
        """The body of a 2xx answer: the SDK's own models take anything, so they are not used."""

        def call(key: Secret[str]) -> bytes:
            client = self._lithic.with_options(api_key=key.reveal(), timeout=timeout)
            try:
                return ask(client.cards.with_raw_response).http_response.content
            except APIStatusError as error:
                fault = processor_fault(error.status_code)
            except (LithicError, httpx.HTTPError):
                fault = processor_unavailable()
            # Outside of the handler, so that it is not chained: the SDK's error holds request and answer.
            raise fault

        return with_keys((credentials or self._credentials()).api_keys, call)


def _spend_limit(amount: Decimal, currency: str) -> int:
    """In minor units; 0 would be no limit at all, so that a limit of nothing is one minor unit."""
    return max(minor_units(amount, currency), _NO_LIMIT + 1)
