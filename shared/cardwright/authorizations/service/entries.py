"""What the engine keeps in Valkey: decisions, profiles, and transactions left without an answer.

Each is sealed (platform.entries), so that only our own is read back.
"""

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from uuid import UUID
from zoneinfo import ZoneInfo

from cardwright.authorizations.rules import Decision, Profile, Reason, expires_at
from cardwright.kernel.secret import Secret

_PROFILE_FIELDS = tuple(field.name for field in fields(Profile))
_LISTS = ("categories_allowed", "categories_denied", "countries_allowed", "countries_denied", "channels_denied")
# Keeps keys derived for entries apart from every other use of the secret. It can be no signed webhook: those have two dots.
_PURPOSE = b"cache-entry"
# A list, the oldest first, of transactions that may have been approved while the network was told issuer_unavailable.
UNANSWERED_KEY = "authorizations:unanswered"

# Keeps a late writer from putting an older profile over a newer one. What the writer found and could not believe (ARGV[4])
# does not count: a forged high version would else keep every true profile out.
SET_NEWER = """
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' and held ~= ARGV[4] then
  local version = string.match(held, '^(%d+) ')
  if version and tonumber(version) > tonumber(ARGV[1]) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""


def decision_key(card_token: str, authorization_id: str) -> str:
    """Cache key of a decision; it shares the hash tag of the card's profile (`profile_key`)."""
    return f"card:{{{card_token}}}:decision:{authorization_id}"


def entry_keys(secrets: Sequence[Secret[str]]) -> list[Secret[bytes]]:
    """Keys of entries, one from each of the processor's signing secrets, in their order."""
    return [_entry_key(secret) for secret in secrets]


@lru_cache(maxsize=64)
def _entry_key(secret: Secret[str]) -> Secret[bytes]:
    return Secret(hmac.digest(secret.reveal().encode(), _PURPOSE, hashlib.sha256))


def write_decision(decision: Decision, digest: bytes) -> str:
    """The value of a decision, with the digest of what was asked."""
    score = "" if decision.risk_score is None else str(decision.risk_score)
    stamp = decision.decided_at.isoformat()
    return "|".join((digest.hex(), decision.reason, str(decision.transaction_id), str(decision.approved_amount), score, stamp))


def read_decision(raw: bytes, digest: bytes, authorization_id: str) -> Decision | None:
    """The remembered answer, which for another body is authorization_id_reused; None for what is no such value."""
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


def write_unanswered(card_id: UUID, transaction_id: UUID, at: datetime) -> str:
    """The value of a transaction left without an answer at a time."""
    return f"{card_id}|{transaction_id}|{at.isoformat()}"


def read_unanswered(raw: bytes) -> tuple[UUID, UUID, datetime] | None:
    """Card, transaction and time of such a value; None for what is none."""
    try:
        card_id, transaction_id, stamp = raw.decode().split("|")
        at = datetime.fromisoformat(stamp)
        return None if at.tzinfo is None else (UUID(card_id), UUID(transaction_id), at)
    except ValueError:
        return None


def write_profile(profile: Profile) -> str:
    """The value of a profile: its version, which SET_NEWER compares, and JSON."""
    told = {name: _plain(getattr(profile, name)) for name in _PROFILE_FIELDS}
    return f"{profile.config_version} {json.dumps(told, separators=(',', ':'))}"


def _plain(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    return value if isinstance(value, int) else str(value)


@lru_cache(maxsize=4096)
def read_profile(raw: bytes) -> Profile | None:
    """The profile of a value, read once for the same bytes; None for what is no such value."""
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
