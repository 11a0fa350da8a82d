"""The simulated issuer processor's transactions and settlement files over HTTP."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from datetime import datetime
from decimal import Decimal
from typing import Annotated
from urllib.parse import quote

import httpx
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, Field, StringConstraints

from cardwright.kernel.clock import rfc3339
from cardwright.kernel.money import check_currency, parse_amount
from cardwright.kernel.secret import Secret
from cardwright.providers.answers import processor_fault, processor_unavailable, read_processor
from cardwright.providers.keys import with_keys
from cardwright.settlement.ports import ListedFile, TransactionPage
from cardwright.settlement.rules import ProcessorTransaction, TheirState

_TIMEOUT = httpx.Timeout(20, connect=3)
_PAGE = 200
_PIECE = 1 << 16
_Id = Annotated[str, StringConstraints(pattern=r"^[!-z|~]{1,128}$")]
_Amount = Annotated[Decimal, BeforeValidator(parse_amount)]


class _Transaction(BaseModel):
    authorization_id: _Id
    card_token: _Id
    state: TheirState
    approved_amount: _Amount
    cleared_amount: _Amount
    currency: Annotated[str, AfterValidator(check_currency)]
    changed_at: AwareDatetime

    def told(self) -> ProcessorTransaction:
        """As the port tells it."""
        return ProcessorTransaction(
            card_token=self.card_token,
            authorization_id=self.authorization_id,
            state=self.state,
            approved_amount=self.approved_amount,
            cleared_amount=self.cleared_amount,
            currency=self.currency,
            changed_at=self.changed_at,
        )


class _Transactions(BaseModel):
    data: list[_Transaction]
    next_cursor: str | None = Field(default=None, min_length=1)


class _File(BaseModel):
    file_id: _Id
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Files(BaseModel):
    data: list[_File]


class SimulatedSettlement:
    """Asks the simulator; `credentials` is asked at each call, newest key first, so that rotated keys are used."""

    name = "simulated"

    def __init__(
        self, url: str, credentials: Callable[[], tuple[Secret[str], ...]], *, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._credentials = credentials
        self._client = httpx.Client(base_url=url.rstrip("/"), timeout=_TIMEOUT, trust_env=False, transport=transport)

    def transactions(self, since: datetime, cursor: str | None) -> TransactionPage:
        """Return a page of up to 200 authorizations. Raises UnavailableError, ProviderRefusedError."""
        query = {"since": rfc3339(since), "limit": str(_PAGE)} | ({} if cursor is None else {"cursor": cursor})
        page = read_processor(self._ask("/v1/transactions", query), _Transactions)
        return TransactionPage(tuple(one.told() for one in page.data), page.next_cursor)

    def files(self, since: datetime) -> Sequence[ListedFile]:
        """Return the files made since a time, the earliest first. Raises UnavailableError, ProviderRefusedError."""
        listed = read_processor(self._ask("/v1/settlement-files", {"since": rfc3339(since)}), _Files)
        return [ListedFile(one.file_id, bytes.fromhex(one.sha256)) for one in listed.data]

    def open(self, file_id: str) -> Iterator[bytes]:
        """Give a file's bytes in pieces. Raises UnavailableError, ProviderRefusedError, from the first piece on."""
        with with_keys(self._credentials(), lambda key: self._begin(file_id, key)) as answer:
            pieces = answer.iter_bytes(_PIECE)
            while True:
                try:
                    piece: bytes | None = next(pieces, b"")
                except httpx.HTTPError:
                    piece = None
                if piece is None:
                    # Outside of the handler, so that it is not chained: the cause holds the request and the key.
                    raise processor_unavailable()
                if not piece:
                    return
                yield piece

    def _begin(self, file_id: str, key: Secret[str]) -> AbstractContextManager[httpx.Response]:
        """The answer whose body is the file, to be closed by the caller."""
        path = f"/v1/settlement-files/{quote(file_id, safe='')}"
        try:
            answer: httpx.Response | None = self._client.send(
                self._client.build_request("GET", path, headers=_known(key)), stream=True
            )
        except httpx.HTTPError:
            answer = None
        if answer is None:
            raise processor_unavailable()
        if not answer.is_success:
            answer.close()
            raise processor_fault(answer.status_code)
        return closing(answer)

    def _ask(self, path: str, query: Mapping[str, str]) -> bytes:
        """The body of a 2xx answer."""

        def call(key: Secret[str]) -> bytes:
            try:
                answer = self._client.get(path, params=query, headers=_known(key))
            except httpx.HTTPError:
                answer = None
            if answer is None:
                # Outside of the handler, so that it is not chained: the cause holds the request and the key.
                raise processor_unavailable()
            if not answer.is_success:
                raise processor_fault(answer.status_code)
            return answer.content

        return with_keys(self._credentials(), call)


def _known(key: Secret[str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {key.reveal()}"}
