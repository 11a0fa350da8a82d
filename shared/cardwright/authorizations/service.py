"""One decision: cache, guards, one round trip to PostgreSQL, cache again without waiting (DESIGN section 4)."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from uuid import UUID
from zoneinfo import ZoneInfo

from cardwright.authorizations import store
from cardwright.authorizations.ports import RiskScorer
from cardwright.authorizations.rules import AuthorizationRequest, Decision, Profile, Reason, decide, expires_at, windows
from cardwright.cards.rules import profile_key
from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import UnavailableError
from cardwright.platform.cache import Cache
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Database, Row

# Built once: json.dumps with options builds an encoder for every call.
_JSON = json.JSONEncoder(separators=(",", ":"))
_PROFILE_FIELDS = tuple(field.name for field in fields(Profile))
_LISTS = ("categories_allowed", "categories_denied", "countries_allowed", "countries_denied", "channels_denied")
REPLAY_S = 300
PROFILE_S = 900
ATTEMPTS = 4
# All round trips of one decision together; the network gives up soon after.
PATIENCE_NS = 2_500_000_000

# Keeps a late writer from putting an older profile over a newer one.
_SET_NEWER = """
local held = redis.call('GET', KEYS[1])
if held then
  local version = string.match(held, '^(%d+) ')
  if version and tonumber(version) > tonumber(ARGV[1]) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'EX', ARGV[3])
return 1
"""


class AuthorizationService:
    """Decides authorizations. Without Valkey the answers are the same, one database round trip later."""

    def __init__(
        self,
        database: Database,
        cache: Cache,
        clock: Clock,
        ids: IdSource,
        scorer: RiskScorer | None = None,
        *,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._database = database
        self._cache = cache
        self._clock = clock
        self._ids = ids
        self._scorer = scorer
        self._monotonic_ns = monotonic_ns

    def evaluate(self, request: AuthorizationRequest) -> Decision:
        """Decide one request; the same (card, authorization id) always gets the same answer.

        Never raises for a database that does not answer: the decision is then issuer_unavailable and not final.
        """
        now = self._clock.now()
        digest = request_digest(request)
        try:
            return self._evaluate(request, digest, now)
        except UnavailableError:
            return Decision(Reason.ISSUER_UNAVAILABLE, request.authorization_id, None, Decimal("0.00"), None, now, final=False)

    def _evaluate(self, request: AuthorizationRequest, digest: bytes, now: datetime) -> Decision:
        keys = [decision_key(request.card_token, request.authorization_id), profile_key(request.card_token)]
        if self._scorer is not None:
            keys.append(self._scorer.activity_key(request.card_token))
        cached = self._cache.get_many(keys) or [None] * len(keys)
        if cached[0] is not None and (replay := _read_decision(cached[0], digest, request.authorization_id)) is not None:
            return replay
        profile = _read_profile(cached[1]) if cached[1] is not None else None
        fresh = profile is None
        give_up = self._monotonic_ns() + PATIENCE_NS
        for _ in range(ATTEMPTS):
            if self._monotonic_ns() > give_up:
                raise UnavailableError("The decision took too long.")
            if profile is None:
                profile = store.find_profile(self._database, request.card_token)
                fresh = True
            if profile is None:
                return self._unmatched(request, digest, now)
            score = None if self._scorer is None else self._scorer.score(request, profile, cached[2])
            row = self._record(request, profile, digest, score, now)
            if row["outcome"] != "stale":
                decision = _from_row(row, request.authorization_id)
                self._remember(request, digest, decision, profile if fresh else None, reused=row["outcome"] == "reused")
                return decision
            profile = None
        raise UnavailableError("The card changes faster than a decision can be recorded.")

    def _record(self, request: AuthorizationRequest, profile: Profile, digest: bytes, score: int | None, now: datetime) -> Row:
        day_start, month_start = windows(now, profile.time_zone)
        return store.record(
            self._database,
            profile,
            request,
            digest=digest,
            transaction_id=self._ids.new(),
            reason=decide(request, profile, now),
            detail=_detail(request),
            risk_score=score,
            day_start=day_start,
            month_start=month_start,
            now=now,
        )

    def _unmatched(self, request: AuthorizationRequest, digest: bytes, now: datetime) -> Decision:
        row = store.record_unmatched(
            self._database,
            token_digest=hashlib.sha256(request.card_token.encode()).digest(),
            authorization_id=request.authorization_id,
            digest=digest,
            transaction_id=self._ids.new(),
            amount=request.amount,
            currency=request.currency,
            now=now,
        )
        decision = _from_row(row, request.authorization_id)
        self._remember(request, digest, decision, None, reused=row["outcome"] == "reused")
        return decision

    def _remember(
        self, request: AuthorizationRequest, digest: bytes, decision: Decision, profile: Profile | None, *, reused: bool
    ) -> None:
        commands: list[tuple[bytes | str | int, ...]] = []
        if not reused:
            key = decision_key(request.card_token, request.authorization_id)
            commands.append(("SET", key, _write_decision(decision, digest), "EX", REPLAY_S))
        if profile is not None:
            key = profile_key(request.card_token)
            commands.append(("EVAL", _SET_NEWER, 1, key, profile.config_version, _write_profile(profile), PROFILE_S))
        if commands:
            self._cache.send(commands)


def decision_key(card_token: str, authorization_id: str) -> str:
    """Cache key of a decision; it shares the hash tag of the card's profile (`profile_key`)."""
    return f"card:{{{card_token}}}:decision:{authorization_id}"


def request_digest(request: AuthorizationRequest) -> bytes:
    """SHA-256 over what the request says; spacing, field order and unknown fields do not count."""
    merchant = request.merchant
    told = (
        request.card_token, request.type, request.original_authorization_id, str(request.amount), request.currency,
        str(request.merchant_amount), request.merchant_currency, request.partial_approval, merchant.id, merchant.name,
        merchant.category_code, merchant.city, merchant.country, str(merchant.latitude), str(merchant.longitude),
        request.channel, request.device_id, request.ip, request.occurred_at,
    )  # fmt: skip
    return hashlib.sha256(_JSON.encode(told).encode()).digest()


def _detail(request: AuthorizationRequest) -> str:
    merchant = request.merchant
    told: dict[str, object] = {
        "merchant": {
            "id": merchant.id,
            "name": merchant.name,
            "category_code": merchant.category_code,
            "city": merchant.city,
            "country": merchant.country,
            "latitude": None if merchant.latitude is None else str(merchant.latitude),
            "longitude": None if merchant.longitude is None else str(merchant.longitude),
        },
        "channel": request.channel,
        "occurred_at": request.occurred_at,
    }
    if request.merchant_amount is not None:
        told["merchant_amount"] = str(request.merchant_amount)
        told["merchant_currency"] = request.merchant_currency
    return _JSON.encode(told)


def _from_row(row: Row, authorization_id: str) -> Decision:
    if row["outcome"] == "reused":
        return Decision(
            Reason.AUTHORIZATION_ID_REUSED,
            authorization_id,
            row["transaction_id"],
            Decimal("0.00"),
            None,
            row["decided_at"],
        )
    return Decision(
        row["reason"],
        authorization_id,
        row["transaction_id"],
        row["approved_amount"],
        row["risk_score"],
        row["decided_at"],
    )


def _write_decision(decision: Decision, digest: bytes) -> str:
    score = "" if decision.risk_score is None else str(decision.risk_score)
    stamp = decision.decided_at.isoformat()
    return "|".join((digest.hex(), decision.reason, str(decision.transaction_id), str(decision.approved_amount), score, stamp))


def _read_decision(raw: bytes, digest: bytes, authorization_id: str) -> Decision | None:
    """The remembered answer; None when the cache holds something else, which then counts as nothing."""
    try:
        known, reason, transaction_id, approved, score, stamp = raw.decode().split("|")
        moment = datetime.fromisoformat(stamp)
        if known != digest.hex():
            return Decision(Reason.AUTHORIZATION_ID_REUSED, authorization_id, UUID(transaction_id), Decimal("0.00"), None, moment)
        return Decision(
            Reason(reason),
            authorization_id,
            UUID(transaction_id),
            Decimal(approved),
            int(score) if score else None,
            moment,
        )
    except (ValueError, ArithmeticError):
        return None


def _write_profile(profile: Profile) -> str:
    return json.dumps({name: _plain(getattr(profile, name)) for name in _PROFILE_FIELDS}, separators=(",", ":"))


def _plain(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    return value if isinstance(value, int) else str(value)


@lru_cache(maxsize=4096)
def _read_profile(raw: bytes) -> Profile | None:
    """The cached profile, read once for the same bytes; None when the cache holds something else, which counts as nothing."""
    try:
        version, _, text = raw.decode().partition(" ")
        told = json.loads(text)
        told["card_id"], told["user_id"] = UUID(told["card_id"]), UUID(told["user_id"])
        told["per_transaction"] = Decimal(told["per_transaction"])
        for name in _LISTS:
            told[name] = frozenset(told[name])
        profile = Profile(**told)
        # What the guards compute with must be computable: a month, a time zone.
        expires_at(profile.expiry_year, profile.expiry_month)
        ZoneInfo(profile.time_zone)
        return profile if profile.config_version == int(version) else None
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
        return None
