"""One request as an endpoint sees it: who calls, with which keys and versions, and the services it may use."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from pydantic import BaseModel

from cardwright.http import paging
from cardwright.idempotency.service import IdempotencyService
from cardwright.identity.rules import Principal
from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import ForbiddenError, InvalidRequestError
from cardwright.kernel.rows import Http
from cardwright.kernel.secret import Secret
from cardwright.platform.ids import IdSource
from cardwright.platform.keys import Sealer
from cardwright.platform.postgres import Actor
from cardwright.ratelimit.service import RateLimiter

STEP_UP_AGE = timedelta(minutes=5)
ItemT = TypeVar("ItemT")
_NO_OPERATION = UUID(int=0)


class Authenticator(Protocol):
    """Turns an access token into the one it stands for."""

    def authenticate(self, token: str) -> Principal:
        """Raise UnauthenticatedError for a token that does not hold."""
        ...


class HttpSettings(Protocol):
    """What the glue must know of the stage."""

    @property
    def stage(self) -> str: ...
    @property
    def cors_origins(self) -> frozenset[str]: ...


class ApiRoot(Protocol):
    """What the glue asks of a composition root."""

    @property
    def settings(self) -> HttpSettings: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def ids(self) -> IdSource: ...
    @property
    def identity(self) -> Authenticator: ...
    @property
    def ratelimit(self) -> RateLimiter: ...
    @property
    def idempotency(self) -> IdempotencyService: ...
    @property
    def sealer(self) -> Sealer: ...


ApiT_co = TypeVar("ApiT_co", bound=ApiRoot, covariant=True)


@dataclass(frozen=True, slots=True)
class Reply:
    """An endpoint's answer. `once`: fields shown now and left out when the answer is replayed for its idempotency key."""

    body: BaseModel | None = None
    status: int | None = None
    etag: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    once: frozenset[str] = frozenset()


@dataclass(slots=True)
class Call(Generic[ApiT_co]):
    """The request in progress. `target` is its path and query; `operation_id` is the same at every run of an idempotency key."""

    api: ApiT_co
    row: Http
    request_id: str
    address: str
    headers: Mapping[str, str]
    raw_body: bytes = b""
    target: str = ""
    principal: Principal | None = None
    operation_id: UUID = _NO_OPERATION
    response_headers: dict[str, str] = field(default_factory=dict)

    @property
    def actor(self) -> Actor:
        """The caller as row-level security and the audit see it."""
        if self.principal is None:
            return Actor(None, "nobody", self.request_id)
        return Actor(self.principal.user_id, self.principal.role, self.request_id)

    @property
    def if_match(self) -> int | None:
        """The version of `If-Match`; None without the header or for `*`. Raises InvalidRequestError if_match_invalid."""
        text = self.headers.get("if-match")
        if text is None or text.strip() == "*":
            return None
        bare = text.strip().removeprefix("W/").strip('"')
        if not bare.isascii() or not bare.isdigit() or len(bare) > 9:
            raise InvalidRequestError('If-Match holds one ETag, such as "3".', code="if_match_invalid")
        return int(bare)

    @property
    def idempotency_key(self) -> str | None:
        """The key of this request. Raises InvalidRequestError idempotency_key_invalid."""
        key = self.headers.get("idempotency-key")
        if key is None:
            return None
        if not 1 <= len(key) <= 255 or not key.isprintable() or not key.strip():
            raise InvalidRequestError("An Idempotency-Key holds 1 to 255 printable characters.", code="idempotency_key_invalid")
        return key

    def require_step_up(self) -> None:
        """Raise ForbiddenError unless a second factor was shown within five minutes (CONTRACT, step-up)."""
        principal = self.principal
        if principal is None or not principal.mfa_enrolled:
            raise ForbiddenError("Enrol a second factor first.", code="mfa_enrolment_required")
        if principal.mfa_at is None or self.api.clock.now() - principal.mfa_at > STEP_UP_AGE:
            raise ForbiddenError("Confirm with a second factor first.", code="step_up_required")

    def after(self, list_name: str, cursor: str | None) -> UUID | None:
        """The position a list continues after. The cursor is bound to the list and to the caller."""
        return None if cursor is None else paging.read(self._cursor_keys(), self._bound(list_name), cursor)

    def page(
        self, items: Sequence[ItemT], limit: int, key_of: Callable[[ItemT], UUID], list_name: str
    ) -> tuple[list[ItemT], paging.Pagination]:
        """Cut items (fetched with limit + 1) into a page with its pagination."""
        return paging.page(items, limit, key_of, self._cursor_keys(), self._bound(list_name))

    def _cursor_keys(self) -> list[Secret[bytes]]:
        return self.api.sealer.keys_for("cursor")

    def _bound(self, list_name: str) -> str:
        return f"{list_name}:{self.principal.user_id if self.principal else ''}"
