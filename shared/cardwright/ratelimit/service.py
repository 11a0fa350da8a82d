"""Count calls against quotas in Valkey, all quotas of a call in one round trip."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import RateLimitedError
from cardwright.platform.cache import Cache
from cardwright.platform.ids import IdSource
from cardwright.ratelimit.rules import (
    LOGIN,
    PER_ADDRESS,
    PER_ORGANIZATION,
    PER_SUBSCRIPTION,
    PER_USER,
    Grant,
    Quota,
    Standing,
    tightest,
)

# A sorted set of the calls in the window, scored by time: exact at any moment, not only at window edges.
# Returns {allowed, used, milliseconds until the oldest counted call leaves}.
_COUNT = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1] - ARGV[2])
local used = redis.call('ZCARD', KEYS[1])
local allowed = 0
if used < tonumber(ARGV[3]) then
  redis.call('ZADD', KEYS[1], ARGV[1], ARGV[4])
  used = used + 1
  allowed = 1
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return {allowed, used, oldest[2] + ARGV[2] - ARGV[1]}
"""

# The same for several at once, as many of them as fit. Returns {allowed, milliseconds until the oldest counted one leaves}.
_GRANT = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1] - ARGV[2])
local allowed = math.max(0, math.min(ARGV[3] - redis.call('ZCARD', KEYS[1]), tonumber(ARGV[5])))
for number = 1, allowed do
  redis.call('ZADD', KEYS[1], ARGV[1], ARGV[4] .. ':' .. number)
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return {allowed, (oldest[2] or ARGV[1]) + ARGV[2] - ARGV[1]}
"""


class WebhookPace:
    """Keeps attempts to deliver to one subscription under its quota, whoever makes them. Without the cache all may go."""

    def __init__(self, cache: Cache, clock: Clock, ids: IdSource, *, enabled: bool) -> None:
        self._cache = cache
        self._clock = clock
        self._ids = ids
        self._enabled = enabled

    def grant(self, wanted: Mapping[UUID, int]) -> dict[UUID, Grant]:
        """Count attempts, so many for each subscription; tell how many of them may be made now."""
        if not wanted:
            return {}
        quota = PER_SUBSCRIPTION
        all_of_them = {subscription_id: Grant(count, 0) for subscription_id, count in wanted.items()}
        if not self._enabled:
            return all_of_them
        now_ms, member = int(self._clock.now().timestamp() * 1000), self._ids.new().hex
        replies = self._cache.exchange(
            [
                (
                    "EVAL",
                    _GRANT,
                    1,
                    f"rate:{quota.name}:{{{subscription_id}}}",
                    now_ms,
                    quota.window_s * 1000,
                    quota.limit,
                    member,
                    count,
                )
                for subscription_id, count in wanted.items()
            ]
        )
        if replies is None:
            return all_of_them
        grants = all_of_them
        for subscription_id, reply in zip(wanted, replies, strict=True):
            if isinstance(reply, list):
                allowed, wait_ms = (int(str(part)) for part in reply)
                grants[subscription_id] = Grant(allowed, max(1, wait_ms))
        return grants


class RateLimiter:
    """Spends quotas. Without the cache calls pass: quotas protect capacity, and accounts lock in PostgreSQL anyway."""

    def __init__(self, cache: Cache, clock: Clock, ids: IdSource, *, enabled: bool) -> None:
        self._cache = cache
        self._clock = clock
        self._ids = ids
        self._enabled = enabled

    def spend(self, *, user_id: UUID | None, organization_id: UUID | None, address: str) -> Standing | None:
        """Count one call. Returns the tightest standing. Raises RateLimitedError when a quota is spent."""
        wanted: list[tuple[Quota, str]] = [(PER_ADDRESS, address)]
        if user_id is not None:
            wanted.append((PER_USER, str(user_id)))
        if organization_id is not None:
            wanted.append((PER_ORGANIZATION, str(organization_id)))
        return self._spend(wanted)

    def login(self, address: str, account: bytes) -> None:
        """Count one attempt to log in from an address to an account (its blind index). Raises RateLimitedError."""
        self._spend([(LOGIN, f"{address}|{account.hex()}")])

    def _spend(self, wanted: Sequence[tuple[Quota, str]]) -> Standing | None:
        if not self._enabled:
            return None
        now_ms = int(self._clock.now().timestamp() * 1000)
        member = self._ids.new().hex
        replies = self._cache.exchange(
            [
                (
                    "EVAL",
                    _COUNT,
                    1,
                    f"rate:{quota.name}:{{{subject}}}",
                    now_ms,
                    quota.window_s * 1000,
                    quota.limit,
                    member,
                )
                for quota, subject in wanted
            ]
        )
        if replies is None:
            return None
        standings = []
        for (quota, _), reply in zip(wanted, replies, strict=True):
            if not isinstance(reply, list):
                return None
            allowed, used, reset_ms = (int(str(part)) for part in reply)
            standings.append(Standing(quota, allowed == 1, max(0, quota.limit - used), max(1, -(-reset_ms // 1000))))
        standing = tightest(standings)
        if not standing.allowed:
            quota = standing.quota
            raise RateLimitedError(
                f"At most {quota.limit} requests in {quota.window_s} seconds.",
                quota=quota.name,
                retry_after_s=standing.reset_s,
                limit=quota.limit,
                window_s=quota.window_s,
            )
        return standing
