"""The quotas of CONTRACT section 2; figures are per window of seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quota:
    """`limit` calls in any `window_s` seconds."""

    name: str
    limit: int
    window_s: int


PER_USER = Quota("user", 100, 60)
PER_ORGANIZATION = Quota("organization", 1000, 60)
PER_ADDRESS = Quota("address", 1000, 60)
LOGIN = Quota("login", 10, 900)
# Attempts to deliver to one webhook subscription.
PER_SUBSCRIPTION = Quota("webhook", 100, 1)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is left of a quota: `remaining` calls, `reset_s` seconds until the oldest counted call leaves the window."""

    quota: Quota
    allowed: bool
    remaining: int
    reset_s: int


@dataclass(frozen=True, slots=True)
class Grant:
    """How many of those asked for may go now; if not all, `wait_ms` until the next may."""

    allowed: int
    wait_ms: int


def tightest(standings: list[Standing]) -> Standing:
    """The standing a caller should look at: one that refused, else the one with the least left."""
    return min(standings, key=lambda standing: (standing.allowed, standing.remaining))
