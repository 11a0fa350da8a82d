"""The simulated issuer processor over HTTP."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
from pydantic import BaseModel, Field, StrictInt

from cardwright.cards.rules import Expiry, IssuedCard, Limits, ProcessorCard, ProcessorPage, ProcessorState
from cardwright.kernel.clock import rfc3339
from cardwright.kernel.secret import Secret
from cardwright.providers.answers import processor_fault, processor_refused, processor_unavailable, read_processor
from cardwright.providers.keys import with_keys
from cardwright.providers.listing import read_reference

_TIMEOUT = httpx.Timeout(8, connect=3)
# A freeze has its effect here already: its caller does not wait long for the processor.
_SWITCH_TIMEOUT = httpx.Timeout(2, connect=1)
_CARDS = "/v1/cards"
_PAGE = 200


class _Changed(BaseModel):
    """A card as it is after a change."""

    state: ProcessorState
    limits: dict[str, str] | None = None


class _Card(BaseModel):
    token: str = Field(min_length=1, max_length=200)
    state: ProcessorState
    reference: str | None = None

    def listed(self) -> ProcessorCard:
        """As the port tells it."""
        return ProcessorCard(self.token, read_reference(self.reference), self.state)


class _NewCard(_Card):
    pan: str = Field(min_length=1, repr=False)
    last_four: str
    exp_month: StrictInt
    exp_year: StrictInt
    currency: str


class _Page(BaseModel):
    data: list[_Card]
    next_cursor: str | None = Field(default=None, min_length=1)


class _View(BaseModel):
    url: str = Field(pattern=r"^https?://", repr=False)


class SimulatedProcessor:
    """Talks to the simulator; `credentials` is asked at each call, newest key first, so that rotated keys are used."""

    name = "simulated"

    def __init__(
        self, url: str, credentials: Callable[[], tuple[Secret[str], ...]], *, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._credentials = credentials
        # No proxies or certificates from the environment: requests carry card numbers back.
        self._client = httpx.Client(base_url=url.rstrip("/"), timeout=_TIMEOUT, trust_env=False, transport=transport)

    def create_card(
        self, *, card_id: UUID, program_id: UUID, bin_prefix: str, currency: str, expiry: Expiry, limits: Limits
    ) -> IssuedCard:
        """Make a card; the card id is reference and idempotency key. Raises UnavailableError, ProviderRefusedError."""
        body = {
            "reference": str(card_id),
            "program": str(program_id),
            "bin": bin_prefix,
            "currency": currency,
            "expires_on": f"{expiry.year:04d}-{expiry.month:02d}",
            "limits": _amounts(limits),
        }
        card = read_processor(self._ask("POST", _CARDS, body=body, headers={"Idempotency-Key": str(card_id)}), _NewCard)
        return IssuedCard(
            token=card.token,
            pan=Secret(card.pan),
            last_four=card.last_four,
            expiry=Expiry(card.exp_year, card.exp_month),
            currency=card.currency,
        )

    def set_state(self, token: str, state: ProcessorState) -> None:
        """Switch a card. Raises UnavailableError, ProviderRefusedError."""
        # The answer is the card as it is now; one that is not as asked leaves open what happened.
        if self._change(token, {"state": state.value}).state is not state:
            raise processor_unavailable()

    def set_limits(self, token: str, limits: Limits, currency: str) -> None:
        """Tell a card's limits, as decimals of the card's own currency. Raises UnavailableError, ProviderRefusedError."""
        wanted = _amounts(limits)
        if self._change(token, {"limits": wanted}).limits != wanted:
            raise processor_unavailable()

    def find_card(self, card_id: UUID) -> ProcessorCard | None:
        """Return the card whose reference is our card id. Raises UnavailableError, ProviderRefusedError."""
        page = read_processor(self._ask("GET", _CARDS, query={"reference": str(card_id)}), _Page)
        return next((card for card in map(_Card.listed, page.data) if card.card_id == card_id), None)

    def list_cards(self, cursor: str | None) -> ProcessorPage:
        """Return a page of up to 200 cards, the earliest first. Raises UnavailableError, ProviderRefusedError."""
        query = {"limit": str(_PAGE)} if cursor is None else {"limit": str(_PAGE), "cursor": cursor}
        page = read_processor(self._ask("GET", _CARDS, query=query), _Page)
        return ProcessorPage(tuple(card.listed() for card in page.data), page.next_cursor)

    def reveal_url(self, token: str, *, expires_at: datetime, origins: Iterable[str]) -> str:
        """Return the address of a view that shows the card once. Raises UnavailableError, ProviderRefusedError."""
        body = {"expires_at": rfc3339(expires_at), "origins": list(origins)}
        return read_processor(self._ask("POST", f"{_path(token)}/embed", body=body), _View).url

    def _change(self, token: str, fields: Mapping[str, Any]) -> _Changed:
        return read_processor(self._ask("PATCH", _path(token), body=fields, timeout=_SWITCH_TIMEOUT), _Changed)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: httpx.Timeout = _TIMEOUT,
    ) -> bytes:
        """The body of a 2xx answer."""

        def call(key: Secret[str]) -> bytes:
            sent = {"Authorization": f"Bearer {key.reveal()}", **(headers or {})}
            try:
                answer = self._client.request(method, path, json=body, params=query, headers=sent, timeout=timeout)
            except httpx.HTTPError:
                answer = None
            if answer is None:
                # Outside of the handler, so that it is not chained: the cause holds the request and the key.
                raise processor_unavailable()
            if answer.status_code == httpx.codes.CONFLICT and path != _CARDS:
                # Of a card that exists it says that it is closed, for good.
                raise processor_refused()
            if not answer.is_success:
                raise processor_fault(answer.status_code)
            return answer.content

        return with_keys(self._credentials(), call)


def _path(token: str) -> str:
    return f"{_CARDS}/{quote(token, safe='')}"


def _amounts(limits: Limits) -> dict[str, str]:
    named = {"per_transaction": limits.per_transaction, "daily": limits.daily, "monthly": limits.monthly}
    return {name: f"{amount:f}" for name, amount in named.items()}
