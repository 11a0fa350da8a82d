"""The simulated issuer processor over HTTP."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import httpx

from cardwright.cards.rules import Expiry, IssuedCard, ProcessorState
from cardwright.kernel.errors import ProviderRefusedError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.providers.answers import may_pass

_TIMEOUT = httpx.Timeout(8.0, connect=3.0)
# A freeze has its effect here already: its caller does not wait long for the processor.
_SWITCH_TIMEOUT = httpx.Timeout(2.0, connect=1.0)


class SimulatedProcessor:
    """Talks to the simulator; `api_key` is asked at each call, so that a rotated key is used."""

    name = "simulated"

    def __init__(self, url: str, api_key: Callable[[], Secret[str]], *, transport: httpx.BaseTransport | None = None) -> None:
        self._api_key = api_key
        # No proxies or certificates from the environment: requests carry card numbers back.
        self._client = httpx.Client(base_url=url.rstrip("/"), timeout=_TIMEOUT, trust_env=False, transport=transport)

    def create_card(self, *, card_id: UUID, program_id: UUID, bin_prefix: str, currency: str, expiry: Expiry) -> IssuedCard:
        """Make a card; the card id is reference and idempotency key. Raises UnavailableError, ProviderRefusedError."""
        answer = self._ask(
            "POST",
            "/v1/cards",
            {
                "reference": str(card_id),
                "program": str(program_id),
                "bin": bin_prefix,
                "currency": currency,
                "expires_on": f"{expiry.year:04d}-{expiry.month:02d}",
            },
            {"Idempotency-Key": str(card_id)},
        )
        return _issued(answer)

    def set_state(self, token: str, state: ProcessorState) -> None:
        """Switch a card. Raises UnavailableError, ProviderRefusedError."""
        self._ask("PATCH", f"/v1/cards/{token}", {"state": state.value}, {}, _SWITCH_TIMEOUT)

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, str],
        headers: Mapping[str, str],
        timeout: httpx.Timeout = _TIMEOUT,
    ) -> Any:
        authorized = {"Authorization": f"Bearer {self._api_key().reveal()}", **headers}
        try:
            response = self._client.request(method, path, json=body, headers=authorized, timeout=timeout)
        except httpx.HTTPError as error:
            raise _unknown() from error
        if may_pass(response.status_code):
            raise _unknown()
        if response.status_code >= httpx.codes.BAD_REQUEST:
            raise ProviderRefusedError("The processor refused.", code="processor_refused")
        try:
            return response.json()
        except ValueError:
            # The cause is left out: it quotes the answer, which may hold a card number.
            raise _unknown() from None


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


def _unknown() -> UnavailableError:
    return UnavailableError("The processor does not answer.", code="processor_unavailable")
