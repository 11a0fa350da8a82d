"""Stripe Issuing as issuer processor, through Stripe's SDK."""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote
from uuid import UUID

import httpx
import stripe
import stripe._util
from pydantic import BaseModel, ConfigDict, Field
from stripe.params.issuing import (
    CardCreateParams,
    CardListParams,
    CardUpdateParams,
    CardUpdateParamsSpendingControlsSpendingLimit,
)

from cardwright.cards.rules import Expiry, IssuedCard, Limits, ProcessorCard, ProcessorPage, ProcessorState
from cardwright.kernel.errors import ProviderRefusedError
from cardwright.kernel.secret import Secret
from cardwright.providers.amounts import minor_units
from cardwright.providers.answers import processor_fault, processor_unavailable, read_processor
from cardwright.providers.keys import Credentials, with_keys
from cardwright.providers.listing import PAGE, page_upwards, read_reference

# Where STRIPE_LOG, which is read on import, or its own setting says debug, the SDK writes whole answers, card numbers with them.
logging.getLogger("stripe").setLevel(logging.WARNING)
stripe._util.STRIPE_LOG = None
stripe.log = None
stripe.enable_telemetry = False

_TIMEOUT = httpx.Timeout(8, connect=3)
# A freeze has its effect here already: its caller does not wait long for the processor.
_SWITCH_TIMEOUT = httpx.Timeout(2, connect=1)
_CARDS = "/v1/issuing/cards"
_SWITCHES = {ProcessorState.ACTIVE: "active", ProcessorState.PAUSED: "inactive", ProcessorState.CLOSED: "canceled"}
_STATES = {switch: state for state, switch in _SWITCHES.items()}
# Our card id tells when it was made, by our clock; Stripe's may be behind it.
_CLOCKS_DIFFER_S = 300
_UUID_WITH_TIME = 7


class _Program(BaseModel):
    """What a program of ours is at Stripe."""

    model_config = ConfigDict(extra="forbid")

    cardholder: str = Field(min_length=1)


class _Card(BaseModel):
    id: str = Field(min_length=1, max_length=200)
    status: Literal["active", "inactive", "canceled"]
    metadata: dict[str, str] = Field(default_factory=dict)

    def listed(self) -> ProcessorCard:
        """As the port tells it."""
        return ProcessorCard(self.id, read_reference(self.metadata.get("reference")), _STATES[self.status])


class _NewCard(_Card):
    number: str = Field(min_length=1, repr=False)
    last4: str
    exp_month: int
    exp_year: int
    currency: str


class _Page(BaseModel):
    data: list[_Card]
    has_more: bool


class _Wire(stripe.HTTPClient):
    """Carries the SDK's requests over our own client."""

    name = "httpx"

    def __init__(self, http: httpx.Client, timeout: httpx.Timeout) -> None:
        super().__init__()
        self._http, self._timeout = http, timeout

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, *, _usage: list[str] | None = None
    ) -> tuple[str, int, Mapping[str, str]]:
        """Send one request. Raises stripe.APIConnectionError."""
        try:
            answer = self._http.request(method, url, headers=headers, content=post_data, timeout=self._timeout)
        except httpx.HTTPError:
            raise stripe.APIConnectionError("no answer") from None  # type: ignore[no-untyped-call]  # the SDK's errors have no types
        return answer.text, answer.status_code, answer.headers


class StripeProcessor:
    """Virtual cards of Stripe Issuing. `credentials` is asked at each call, so that keys may rotate.

    Settings: {"default": {"cardholder"}, "programs": {"<our program id>": {"cardholder"}}}, the Stripe cardholder that a
    program's cards belong to. The keys must be allowed to see card numbers (PCI DSS).

    Our card id is the idempotency key, which Stripe remembers for at least a day, and the card's `metadata.reference`.
    """

    name = "stripe"

    def __init__(self, url: str, credentials: Callable[[], Credentials], *, transport: httpx.BaseTransport | None = None) -> None:
        self._credentials = credentials
        # No proxies or certificates from the environment: answers carry card numbers. Tries again are made by our own retries.
        http = httpx.Client(timeout=_TIMEOUT, trust_env=False, transport=transport)
        self._client, self._switch = (
            stripe.StripeClient(
                "given with each call",
                base_addresses={"api": url.rstrip("/")},
                http_client=_Wire(http, timeout),
                max_network_retries=0,
            )
            for timeout in (_TIMEOUT, _SWITCH_TIMEOUT)
        )

    def create_card(
        self, *, card_id: UUID, program_id: UUID, bin_prefix: str, currency: str, expiry: Expiry, limits: Limits
    ) -> IssuedCard:
        """Make a card and ask for its number; the BIN is Stripe's choice. Raises UnavailableError, ProviderRefusedError."""
        credentials = self._credentials()
        wanted: CardCreateParams = {
            "type": "virtual",
            "status": "active",
            "cardholder": credentials.of_program(program_id, _Program).cardholder,
            "currency": currency.lower(),
            "exp_month": expiry.month,
            "exp_year": expiry.year,
            "metadata": {"reference": str(card_id)},
            "spending_controls": {"spending_limits": _spending_limits(limits, currency)},
        }
        made = read_processor(self._ask(self._client, "post", _CARDS, {**wanted, "idempotency_key": str(card_id)}), _Card)
        # The number is told on request alone; should this fail, the same key gets the same card.
        card = read_processor(self._ask(self._client, "get", _path(made.id), {"expand": ["number"]}), _NewCard)
        return IssuedCard(
            token=card.id,
            pan=Secret(card.number),
            last_four=card.last4,
            expiry=Expiry(card.exp_year, card.exp_month),
            currency=card.currency.upper(),
        )

    def set_state(self, token: str, state: ProcessorState) -> None:
        """Switch a card. Raises UnavailableError, ProviderRefusedError."""
        wanted: CardUpdateParams = {"status": _SWITCHES[state]}
        try:
            read_processor(self._ask(self._switch, "post", _path(token), wanted), _Card)
        except ProviderRefusedError:
            # A canceled card takes no change, also not to what it is.
            if _STATES[read_processor(self._ask(self._switch, "get", _path(token), {}), _Card).status] is not state:
                raise

    def set_limits(self, token: str, limits: Limits, currency: str) -> None:
        """Tell a card's limits; Stripe's days and months are those of UTC. Raises UnavailableError, ProviderRefusedError."""
        wanted: CardUpdateParams = {"spending_controls": {"spending_limits": _spending_limits(limits, currency)}}
        read_processor(self._ask(self._switch, "post", _path(token), wanted), _Card)

    def find_card(self, card_id: UUID) -> ProcessorCard | None:
        """Return the card whose reference is our card id, by reading the list back to when the id was made.

        Stripe cannot look for metadata, so this takes one call for each hundred cards made since. Raises UnavailableError,
        ProviderRefusedError.
        """
        wanted: CardListParams = {"limit": PAGE}
        if card_id.version == _UUID_WITH_TIME:
            wanted["created"] = {"gte": (card_id.int >> 80) // 1000 - _CLOCKS_DIFFER_S}
        while True:
            page = read_processor(self._ask(self._client, "get", _CARDS, wanted), _Page)
            found = next((card.listed() for card in page.data if card.metadata.get("reference") == str(card_id)), None)
            if found is not None or not page.has_more:
                return found
            if not page.data or page.data[-1].id == wanted.get("starting_after"):
                raise processor_unavailable()
            wanted["starting_after"] = page.data[-1].id

    def list_cards(self, cursor: str | None) -> ProcessorPage:
        """Return a page of cards, the earliest first; see `page_upwards`. Raises UnavailableError, ProviderRefusedError."""

        def fetch(place: Mapping[str, str]) -> tuple[list[ProcessorCard], bool]:
            page = read_processor(self._ask(self._client, "get", _CARDS, {"limit": PAGE, **place}), _Page)
            return [card.listed() for card in page.data], page.has_more

        return page_upwards(cursor, fetch)

    def reveal_url(self, token: str, *, expires_at: datetime, origins: Iterable[str]) -> str:
        """Raise ProviderRefusedError reveal_unsupported: Stripe shows numbers through Issuing Elements alone.

        That is a script in a page of the issuer's own, with an ephemeral key; there is no URL of a view to hand out.
        """
        raise ProviderRefusedError("This card's processor has no view of its own for card data.", code="reveal_unsupported")

    def _ask(self, client: stripe.StripeClient, method: str, path: str, params: Mapping[str, Any]) -> str:
        """The body of a 2xx answer; the SDK's own objects take anything, so they are not used."""

        def call(key: Secret[str]) -> str:
            try:
                answer = client.raw_request(method, path, **params, api_key=key.reveal())
            except stripe.StripeError as error:
                fault = processor_fault(error.http_status or 0)
            else:
                return str(answer.body)
            # Outside of the handler, so that it is not chained: the SDK's error holds the answer.
            raise fault

        return with_keys(self._credentials().api_keys, call)


def _path(token: str) -> str:
    return f"{_CARDS}/{quote(token, safe='')}"


def _spending_limits(limits: Limits, currency: str) -> list[CardUpdateParamsSpendingControlsSpendingLimit]:
    return [
        {"interval": "per_authorization", "amount": minor_units(limits.per_transaction, currency)},
        {"interval": "daily", "amount": minor_units(limits.daily, currency)},
        {"interval": "monthly", "amount": minor_units(limits.monthly, currency)},
    ]
