"""One decision: cache, guards, one round trip to PostgreSQL, cache again without waiting (DESIGN section 4)."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from cardwright.authorizations import store
from cardwright.authorizations.ports import RiskScorer
from cardwright.authorizations.rules import RULE_VERSION, AuthorizationRequest, Decision, Profile, Reason, decide
from cardwright.authorizations.service import entries
from cardwright.authorizations.service.records import request_digest, write_detail
from cardwright.cards.rules import profile_key, windows
from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.platform.cache import Cache
from cardwright.platform.entries import seal, unseal
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Database, Row
from cardwright.transactions.rules.holds import hold_expires_at

REPLAY_S = 300
PROFILE_S = 900
ATTEMPTS = 4
# So many transactions without an answer are remembered; of more, settlement's comparison tells (docs/decisions/0018).
UNANSWERED_MAX = 100_000
# All round trips of one decision together; the network gives up soon after.
PATIENCE_NS = 2_500_000_000


@dataclass(slots=True)
class _Asked:
    """One request on its way. `disbelieved` is what the cache held for the card's profile and is none of ours.

    `recording` names card and transaction while the database may have recorded them and has not said so.
    """

    request: AuthorizationRequest
    detail: str
    digest: bytes
    now: datetime
    keys: Sequence[Secret[bytes]]
    disbelieved: bytes = b""
    recording: tuple[UUID, UUID] | None = None


class AuthorizationService:
    """Decides authorizations. Without Valkey the answers are the same, one database round trip later; with one that lies, too.

    `secrets` gives the processor's signing secrets, several while they rotate: entries of the cache are sealed with keys made
    from them (`entries`), the first seals, each opens.
    """

    def __init__(
        self,
        database: Database,
        cache: Cache,
        clock: Clock,
        ids: IdSource,
        scorer: RiskScorer | None = None,
        *,
        secrets: Callable[[], Sequence[Secret[str]]],
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._database = database
        self._cache = cache
        self._clock = clock
        self._ids = ids
        self._scorer = scorer
        self._secrets = secrets
        self._monotonic_ns = monotonic_ns

    def evaluate(self, request: AuthorizationRequest) -> Decision:
        """Decide one request; the same (card, authorization id) always gets the same answer.

        Never raises for a database that does not answer: the decision is then issuer_unavailable and not final.
        """
        now = self._clock.now()
        detail = write_detail(request)
        asked = _Asked(request, detail, request_digest(request, detail), now, ())
        try:
            asked.keys = entries.entry_keys(self._secrets())
            return self._evaluate(asked)
        except UnavailableError:
            self._remember_unanswered(asked)
            return _unavailable(request.authorization_id, now)

    def _evaluate(self, asked: _Asked) -> Decision:
        request = asked.request
        replay, profile, activity = self._remembered(asked)
        if replay is not None:
            return replay
        fresh = profile is None
        give_up = self._monotonic_ns() + PATIENCE_NS
        for _ in range(ATTEMPTS):
            if self._monotonic_ns() > give_up:
                raise UnavailableError("The decision took too long.")
            if profile is None:
                profile = store.find_profile(self._database, request.card_token)
                fresh = True
            if profile is None:
                return self._unmatched(asked)
            score = None if self._scorer is None else self._scorer.score(request, profile, activity)
            row = self._record(asked, profile, score)
            if row["outcome"] == "voided":
                # The hold of an answer that never arrived was given back: to say approved now would promise money nobody holds.
                return _unavailable(request.authorization_id, asked.now)
            if row["outcome"] != "stale":
                decision = _from_row(row, request.authorization_id)
                self._remember(asked, decision, profile if fresh else None, reused=row["outcome"] == "reused")
                return decision
            profile = None
        raise UnavailableError("The card changes faster than a decision can be recorded.")

    def _remembered(self, asked: _Asked) -> tuple[Decision | None, Profile | None, bytes | None]:
        """What the cache knows and we believe: the answer, the card's profile, its activity."""
        request = asked.request
        keys = [entries.decision_key(request.card_token, request.authorization_id), profile_key(request.card_token)]
        if self._scorer is not None:
            keys.append(self._scorer.activity_key(request.card_token))
        cached = self._cache.get_many(keys)
        if cached is None:
            return None, None, None
        activity = cached[2] if self._scorer is not None else None
        value = None if cached[0] is None else unseal(asked.keys, keys[0], cached[0])
        if value is not None:
            replay = entries.read_decision(value, asked.digest, request.authorization_id)
            if replay is not None:
                return replay, None, activity
        if cached[1] is None:
            return None, None, activity
        value = unseal(asked.keys, keys[1], cached[1])
        profile = None if value is None else entries.read_profile(value)
        if profile is None:
            asked.disbelieved = cached[1]
        return None, profile, activity

    def _record(self, asked: _Asked, profile: Profile, score: int | None) -> Row:
        request, now = asked.request, asked.now
        day_start, month_start = windows(now, profile.time_zone)
        transaction_id = self._ids.new()
        reason = decide(request, profile, score, now)
        asked.recording = profile.card_id, transaction_id
        row = store.record(
            self._database,
            profile,
            request,
            digest=asked.digest,
            transaction_id=transaction_id,
            reason=reason,
            detail=asked.detail,
            risk_score=score,
            day_start=day_start,
            month_start=month_start,
            now=now,
            hold_expires_at=hold_expires_at(request.merchant.category_code, now),
            rule_version=RULE_VERSION,
        )
        asked.recording = None
        return row

    def _unmatched(self, asked: _Asked) -> Decision:
        request = asked.request
        row = store.record_unmatched(
            self._database,
            token_digest=hashlib.sha256(request.card_token.encode()).digest(),
            authorization_id=request.authorization_id,
            digest=asked.digest,
            transaction_id=self._ids.new(),
            amount=request.amount,
            currency=request.currency,
            now=asked.now,
        )
        decision = _from_row(row, request.authorization_id)
        self._remember(asked, decision, None, reused=row["outcome"] == "reused")
        return decision

    def _remember(self, asked: _Asked, decision: Decision, profile: Profile | None, *, reused: bool) -> None:
        request = asked.request
        commands: list[tuple[bytes | str | int, ...]] = []
        if not reused:
            key = entries.decision_key(request.card_token, request.authorization_id)
            entry = seal(asked.keys, key, entries.write_decision(decision, asked.digest).encode())
            commands.append(("SET", key, entry, "EX", REPLAY_S))
        if profile is not None:
            key = profile_key(request.card_token)
            entry = seal(asked.keys, key, entries.write_profile(profile).encode())
            commands.append(("EVAL", entries.SET_NEWER, 1, key, profile.config_version, entry, PROFILE_S, asked.disbelieved))
        if commands:
            self._cache.send(commands)

    def _remember_unanswered(self, asked: _Asked) -> None:
        """Note what may have been approved and was not answered so, for whoever gives the hold back (`unanswered`)."""
        if asked.recording is None:
            return
        value = entries.write_unanswered(*asked.recording, asked.now)
        entry = seal(asked.keys, entries.UNANSWERED_KEY, value.encode())
        key = entries.UNANSWERED_KEY
        self._cache.send([("RPUSH", key, entry), ("LTRIM", key, -UNANSWERED_MAX, -1)])


def _unavailable(authorization_id: str, now: datetime) -> Decision:
    return Decision(Reason.ISSUER_UNAVAILABLE, authorization_id, None, Decimal("0.00"), None, now, final=False)


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
