"""The simulated issuer processor over HTTP."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx

from cardwright.cards.rules import Expiry, IssuedCard, Limits, ProcessorCard, ProcessorPage, ProcessorState
from cardwright.kernel.clock import rfc3339
from cardwright.kernel.errors import ProviderRefusedError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.providers.answers import may_pass
from cardwright.providers.keys import WrongKeyError, with_keys

_TIMEOUT = httpx.Timeout(8, connect=3)
# A freeze has its effect here already: its caller does not wait long for the processor.
_SWITCH_TIMEOUT = httpx.Timeout(2, connect=1)
_PAGE = 200


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
        return _issued(self._ask("POST", "/v1/cards", body=body, headers={"Idempotency-Key": str(card_id)}))

    def set_state(self, token: str, state: ProcessorState) -> None:
        """Switch a card. Raises UnavailableError, ProviderRefusedError."""
        self._change(token, {"state": state.value})

    def set_limits(self, token: str, limits: Limits, currency: str) -> None:
        """Tell a card's limits, as decimals of the card's own currency. Raises UnavailableError, ProviderRefusedError."""
        self._change(token, {"limits": _amounts(limits)})

    def find_card(self, card_id: UUID) -> ProcessorCard | None:
        """Return the card whose reference is our card id. Raises UnavailableError, ProviderRefusedError."""
        page = _page(self._ask("GET", "/v1/cards", query={"reference": str(card_id)}))
        return next((card for card in page.cards if card.card_id == card_id), None)

    def list_cards(self, cursor: str | None) -> ProcessorPage:
        """Return a page of up to 200 cards, the earliest first. Raises UnavailableError, ProviderRefusedError."""
        query = {"limit": str(_PAGE)} if cursor is None else {"limit": str(_PAGE), "cursor": cursor}
        return _page(self._ask("GET", "/v1/cards", query=query))

    def reveal_url(self, token: str, *, expires_at: datetime, origins: Iterable[str]) -> str:
        """Return the address of a view that shows the card once. Raises UnavailableError, ProviderRefusedError."""
        body = {"expires_at": rfc3339(expires_at), "origins": list(origins)}
        answer = self._ask("POST", f"{_card(token)}/embed", body=body)
        url = answer.get("url") if isinstance(answer, dict) else None
        if not isinstance(url, str) or not url.startswith(("https://", "http://")):
            raise _unknown()
        return url

    def _change(self, token: str, fields: Mapping[str, Any]) -> None:
        answer = self._ask("PATCH", _card(token), body=fields, timeout=_SWITCH_TIMEOUT)
        # The answer is the card as it is now; one that is not as asked leaves open what happened.
        if not isinstance(answer, dict) or any(answer.get(name) != value for name, value in fields.items()):
            raise _unknown()

    def _ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: httpx.Timeout = _TIMEOUT,
    ) -> Any:
        def call(key: Secret[str]) -> httpx.Response:
            sent = {"Authorization": f"Bearer {key.reveal()}", **(headers or {})}
            try:
                response = self._client.request(method, path, json=body, params=query, headers=sent, timeout=timeout)
            except httpx.HTTPError:
                # The cause holds the request, and that the key.
                raise _unknown() from None
            if response.status_code == httpx.codes.UNAUTHORIZED:
                raise WrongKeyError
            return response

        return _read(with_keys(self._credentials(), call))


def _read(response: httpx.Response) -> Any:
    """The JSON of an answer that did what was asked."""
    if response.is_client_error and not may_pass(response.status_code):
        raise _refused()
    if not response.is_success:
        raise _unknown()
    try:
        answer = response.json()
    except ValueError:
        # The cause is left out: it quotes the answer, which may hold a card number.
        raise _unknown() from None
    if isinstance(answer, dict) and answer.get("error"):
        # Some parties say 200 whatever happened.
        raise _refused()
    return answer


def _card(token: str) -> str:
    return f"/v1/cards/{quote(token, safe='')}"


def _amounts(limits: Limits) -> dict[str, str]:
    named = {"per_transaction": limits.per_transaction, "daily": limits.daily, "monthly": limits.monthly}
    return {name: f"{amount:f}" for name, amount in named.items()}


def _issued(answer: Any) -> IssuedCard:
    texts = ("token", "pan", "last_four", "currency")
    if (
        not isinstance(answer, dict)
        or not all(isinstance(answer.get(name), str) for name in texts)
        or not all(type(answer.get(name)) is int for name in ("exp_year", "exp_month"))
    ):
        raise _unknown()
    return IssuedCard(
        token=answer["token"],
        pan=Secret(answer["pan"]),
        last_four=answer["last_four"],
        expiry=Expiry(answer["exp_year"], answer["exp_month"]),
        currency=answer["currency"],
    )


def _page(answer: Any) -> ProcessorPage:
    if not isinstance(answer, dict) or not isinstance(answer.get("data"), list):
        raise _unknown()
    cursor = answer.get("next_cursor")
    if cursor is not None and (not isinstance(cursor, str) or not cursor):
        raise _unknown()
    return ProcessorPage(tuple(_listed(item) for item in answer["data"]), cursor)


def _listed(item: Any) -> ProcessorCard:
    if not isinstance(item, dict) or not all(isinstance(item.get(name), str) for name in ("token", "state")):
        raise _unknown()
    try:
        state = ProcessorState(item["state"])
    except ValueError:
        raise _unknown() from None
    return ProcessorCard(item["token"], _card_id(item.get("reference")), state)


def _card_id(reference: Any) -> UUID | None:
    """Our card id, where the reference is one written as we write it; another party's card may carry any text."""
    try:
        card_id = UUID(reference)
    except (AttributeError, TypeError, ValueError):
        return None
    return card_id if str(card_id) == reference else None


def _refused() -> ProviderRefusedError:
    return ProviderRefusedError("The processor refused.", code="processor_refused")


def _unknown() -> UnavailableError:
    return UnavailableError("The processor does not answer.", code="processor_unavailable")
