"""Rows of the outbox doors."""

from cardwright.kernel.rows import Capability, Schedule

RELAY_EVENTS = Schedule(
    name="relay_events",
    domain="outbox",
    every_s=60,
    needs=frozenset({Capability.DATABASE_WORKER, Capability.EVENT_QUEUE}),
    timeout_s=70,
    memory_mb=256,
    summary="Send committed events to the queue, polling for the whole of its minute.",
)

ROWS = (RELAY_EVENTS,)
