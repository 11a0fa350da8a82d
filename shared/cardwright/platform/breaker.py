"""A circuit breaker whose state all functions share through Valkey: a party that does not answer is left alone for a while."""

from collections.abc import Callable
from typing import TypeVar

from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import CircuitOpenError, ProviderRefusedError, UnavailableError
from cardwright.platform.cache import Cache

T = TypeVar("T")

# What is known of a party is forgotten after so long without news.
_FORGET_S = 3600

# May I? KEYS: state, failures. ARGV: now and lease of a probe in ms, seconds until all is forgotten.
_CLEAN, _DOUBTFUL, _OPEN = 0, -1, -2
_ASK = """
local open_until = tonumber(redis.call('HGET', KEYS[1], 'open_until'))
if not open_until then
  if redis.call('EXISTS', KEYS[2]) == 1 then return -1 end
  return 0
end
local now = tonumber(ARGV[1])
local probe_until = tonumber(redis.call('HGET', KEYS[1], 'probe_until'))
if now < open_until or (probe_until and now < probe_until) then return -2 end
local lease = now + tonumber(ARGV[2])
redis.call('HSET', KEYS[1], 'probe_until', string.format('%.0f', lease))
redis.call('EXPIRE', KEYS[1], ARGV[3])
return lease
"""

# It went well. ARGV: the lease of the probe it was, or a figure that is no lease.
# Of calls that began before the circuit opened nothing is believed.
_PASSED = """
local probe_until = redis.call('HGET', KEYS[1], 'probe_until')
if redis.call('HEXISTS', KEYS[1], 'open_until') == 0 or probe_until == ARGV[1] then
  redis.call('DEL', KEYS[1], KEYS[2])
end
return 0
"""

# It failed. ARGV: the lease as above, now, window and opening in ms, failures that open, seconds until all is forgotten.
_FAILED = """
local function open()
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[1], 'open_until', string.format('%.0f', tonumber(ARGV[2]) + tonumber(ARGV[4])))
  redis.call('EXPIRE', KEYS[1], ARGV[6])
end
if redis.call('HEXISTS', KEYS[1], 'open_until') == 1 then
  if redis.call('HGET', KEYS[1], 'probe_until') == ARGV[1] then open() end
  return 0
end
local most = tonumber(ARGV[5])
redis.call('RPUSH', KEYS[2], ARGV[2])
redis.call('LTRIM', KEYS[2], -most, -1)
redis.call('EXPIRE', KEYS[2], ARGV[6])
if redis.call('LLEN', KEYS[2]) == most then
  local oldest = tonumber(redis.call('LINDEX', KEYS[2], 0))
  if tonumber(ARGV[2]) - oldest <= tonumber(ARGV[3]) then open() end
end
return 0
"""


class Breaker:
    """Lets calls to one party pass, and refuses them at once while it is known not to answer. Safe to share among threads.

    Closed: calls pass; `failures` of them that end in UnavailableError within `window_s`, with no success between, open it.
    Open: for `open_s` nobody asks. Then half open: one caller at a time asks; whether it is answered closes or opens again.
    A probe whose process died is given up after `probe_s`, which is longer than any call may take.

    Without Valkey every call passes: then the party's own deadline is all that protects the caller.
    """

    def __init__(
        self,
        cache: Cache,
        clock: Clock,
        name: str,
        *,
        code: str,
        failures: int = 5,
        window_s: int = 30,
        open_s: int = 20,
        probe_s: int = 20,
    ) -> None:
        """`name` tells parties apart; `code` is that of the refusal, e.g. processor_unavailable."""
        self._cache = cache
        self._clock = clock
        self._keys = (f"breaker:{{{name}}}:state", f"breaker:{{{name}}}:failures")
        self._code = code
        self._failures = failures
        self._window_ms = window_s * 1000
        self._open_ms = open_s * 1000
        self._probe_ms = probe_s * 1000

    def call(self, action: Callable[[], T]) -> T:
        """Run the action; return its value or raise its error.

        Raises CircuitOpenError, without running it, while the circuit is open. UnavailableError counts as a failure of the
        party, ProviderRefusedError as an answer; another error says nothing about it. While all is well this costs one
        exchange with the cache, else two.
        """
        told = self._ask()
        if told == _OPEN:
            raise CircuitOpenError("The other side does not answer at the moment.", code=self._code)
        try:
            value = action()
        except UnavailableError:
            self._run(_FAILED, told, self._now_ms(), self._window_ms, self._open_ms, self._failures, _FORGET_S)
            raise
        except ProviderRefusedError:
            self._passed(told)
            raise
        self._passed(told)
        return value

    def _ask(self) -> int:
        told = self._run(_ASK, self._now_ms(), self._probe_ms, _FORGET_S)
        return told if isinstance(told, int) else _CLEAN

    def _passed(self, told: int) -> None:
        if told != _CLEAN:
            self._run(_PASSED, told)

    def _run(self, script: str, *arguments: int) -> object:
        replies = self._cache.exchange([("EVAL", script, len(self._keys), *self._keys, *arguments)])
        return None if replies is None else replies[0]

    def _now_ms(self) -> int:
        return round(self._clock.now().timestamp() * 1000)
