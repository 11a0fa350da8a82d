"""Marqeta as issuer processor, over its Core API (version 3)."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote
from uuid import UUID

import httpx
from pydantic import BaseModel, ConfigDict, Field

from cardwright.cards.rules import Expiry, IssuedCard, Limits, ProcessorCard, ProcessorPage, ProcessorState
from cardwright.kernel.errors import BrokenInvariantError, ProviderRefusedError
from cardwright.kernel.secret import Secret
from cardwright.providers.answers import processor_fault, processor_unavailable, read_processor
from cardwright.providers.keys import Credentials, with_keys
from cardwright.providers.listing import PAGE

_TIMEOUT = httpx.Timeout(8, connect=3)
# A freeze has its effect here already: its caller does not wait long for the processor.
_SWITCH_TIMEOUT = httpx.Timeout(2, connect=1)
_SWITCHES = {ProcessorState.ACTIVE: "ACTIVE", ProcessorState.PAUSED: "SUSPENDED", ProcessorState.CLOSED: "TERMINATED"}
# A card that is not wholly usable counts as switched off.
_STATES = {
    "ACTIVE": ProcessorState.ACTIVE,
    "SUSPENDED": ProcessorState.PAUSED,
    "UNACTIVATED": ProcessorState.PAUSED,
    "LIMITED": ProcessorState.PAUSED,
    "UNSUPPORTED": ProcessorState.PAUSED,
    "TERMINATED": ProcessorState.CLOSED,
}
_State = Literal["ACTIVE", "SUSPENDED", "UNACTIVATED", "LIMITED", "UNSUPPORTED", "TERMINATED"]
# Marqeta's codes of a transition's reason: the issuer asked for it.
_REQUESTED = "01"
_ERRORS = frozenset({"error", "error_code", "error_message"})


class _Program(BaseModel):
    """What a program of ours is at Marqeta."""

    model_config = ConfigDict(extra="forbid")

    card_product_token: str = Field(min_length=1)
    # Marqeta does not tell a card's currency: this is the card product's.
    currency: str = Field(pattern=r"^[A-Z]{3}$")


class _Card(BaseModel):
    token: str = Field(min_length=1, max_length=200)
    state: _State

    def listed(self) -> ProcessorCard:
        """As the port tells it."""
        return ProcessorCard(self.token, _card_id(self.token), _STATES[self.state])


class _NewCard(_Card):
    pan: str = Field(min_length=1, repr=False)
    last_four: str
    # Month and year, two digits each.
    expiration: str = Field(pattern=r"^[0-9]{4}$")


class _Transition(BaseModel):
    state: _State


class _Page(BaseModel):
    data: list[_Card]
    is_more: bool
    start_index: int
    end_index: int


class MarqetaProcessor:
    """Cards of one Marqeta user. `credentials` is asked at each call, so that keys may rotate.

    An API key is "<application token>:<admin access token>". Settings: {"user_token", "default": {"card_product_token",
    "currency"}, "programs": {"<our program id>": {the same}}}. The card product decides BIN, expiry and currency, and must
    activate cards upon issue; that its expiry is our program's is checked on each card.

    The card's token at Marqeta is our card id, which makes creation idempotent and finds the card again. Marqeta's velocity
    controls belong to users and card products, so a card's limits are kept by us alone.
    """

    name = "marqeta"

    def __init__(self, url: str, credentials: Callable[[], Credentials], *, transport: httpx.BaseTransport | None = None) -> None:
        self._credentials = credentials
        # No proxies or certificates from the environment: answers carry card numbers.
        self._http = httpx.Client(base_url=url.rstrip("/"), timeout=_TIMEOUT, trust_env=False, transport=transport)

    def create_card(
        self, *, card_id: UUID, program_id: UUID, bin_prefix: str, currency: str, expiry: Expiry, limits: Limits
    ) -> IssuedCard:
        """Make a card. Raises UnavailableError, ProviderRefusedError."""
        program = self._credentials().of_program(program_id, _Program)
        wanted = {"token": card_id.hex, "user_token": self._user(), "card_product_token": program.card_product_token}
        shown = {"show_pan": "true", "show_cvv_number": "false"}
        # A conflict is no request under way: a card of this token exists.
        answer = self._send("POST", "/cards", body=wanted, query=shown, expected=httpx.codes.CONFLICT)
        if answer.status_code == httpx.codes.CONFLICT:
            answer = self._send("GET", f"{_path(card_id.hex)}/showpan", query={"show_cvv_number": "false"})
        card = read_processor(answer.content, _NewCard, _ERRORS)
        return IssuedCard(
            token=card.token,
            pan=Secret(card.pan),
            last_four=card.last_four,
            expiry=Expiry(2000 + int(card.expiration[2:]), int(card.expiration[:2])),
            currency=program.currency,
        )

    def set_state(self, token: str, state: ProcessorState) -> None:
        """Switch a card. Raises UnavailableError, ProviderRefusedError."""
        wanted = {"card_token": token, "channel": "API", "state": _SWITCHES[state], "reason_code": _REQUESTED}
        try:
            answer = self._send("POST", "/cardtransitions", body=wanted, timeout=_SWITCH_TIMEOUT)
            read_processor(answer.content, _Transition, _ERRORS)
        except ProviderRefusedError:
            # There is no transition from a state to itself.
            answer = self._send("GET", _path(token), timeout=_SWITCH_TIMEOUT)
            if _STATES[read_processor(answer.content, _Card, _ERRORS).state] is not state:
                raise

    def set_limits(self, token: str, limits: Limits, currency: str) -> None:
        """Do nothing: Marqeta has no limits of a card."""

    def find_card(self, card_id: UUID) -> ProcessorCard | None:
        """Return the card whose token is our card id. Raises UnavailableError, ProviderRefusedError."""
        answer = self._send("GET", _path(card_id.hex), expected=httpx.codes.NOT_FOUND)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return read_processor(answer.content, _Card, _ERRORS).listed()

    def list_cards(self, cursor: str | None) -> ProcessorPage:
        """Return a page of the user's cards, the earliest first. Raises UnavailableError, ProviderRefusedError."""
        # No card ever leaves the list, so places in it stay what they are.
        query = {"sort_by": "createdTime", "count": str(PAGE), "start_index": cursor or "0"}
        answer = self._send("GET", f"/cards/user/{quote(self._user(), safe='')}", query=query)
        page = read_processor(answer.content, _Page, _ERRORS)
        if page.is_more and page.end_index < page.start_index:
            raise processor_unavailable()
        return ProcessorPage(tuple(card.listed() for card in page.data), str(page.end_index + 1) if page.is_more else None)

    def reveal_url(self, token: str, *, expires_at: datetime, origins: Iterable[str]) -> str:
        """Raise ProviderRefusedError reveal_unsupported: Marqeta shows numbers through its script, marqeta.js, alone.

        That runs in a page of the issuer's own; there is no URL of a view to hand out.
        """
        raise ProviderRefusedError("This card's processor has no view of its own for card data.", code="reveal_unsupported")

    def _user(self) -> str:
        user = self._credentials().settings.get("user_token")
        if not isinstance(user, str) or not user:
            raise BrokenInvariantError("a provider's settings have not the shape they must have")
        return user

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        timeout: httpx.Timeout = _TIMEOUT,
        expected: int | None = None,
    ) -> httpx.Response:
        """An answer that is 2xx, or `expected`, which the caller reads by itself."""

        def call(key: Secret[str]) -> httpx.Response:
            user, _, password = key.reveal().partition(":")
            try:
                answer = self._http.request(method, path, json=body, params=query, auth=(user, password), timeout=timeout)
            except httpx.HTTPError:
                answer = None
            if answer is None:
                # Outside of the handler, so that it is not chained: the cause holds the request and the key.
                raise processor_unavailable()
            if not answer.is_success and answer.status_code != expected:
                raise processor_fault(answer.status_code)
            return answer

        return with_keys(self._credentials().api_keys, call)


def _path(token: str) -> str:
    return f"/cards/{quote(token, safe='')}"


def _card_id(token: str) -> UUID | None:
    """Our card id, where the token is one as we write it."""
    try:
        card_id = UUID(token)
    except ValueError:
        return None
    return card_id if card_id.hex == token else None
