"""Rows of the transaction doors."""

from cardwright.kernel.rows import SIGNED_IN, STAFF, Audience, Capability, Http, Idempotency, RateClass, Role, Schedule

LIST_TRANSACTIONS = Http(
    name="list_transactions",
    domain="transactions",
    method="GET",
    path="/transactions",
    needs=SIGNED_IN,
    summary="Transactions of all the caller's cards, newest first, declines included.",
    tags=("transactions",),
)
GET_CARD_TRANSACTIONS = Http(
    name="get_card_transactions",
    domain="transactions",
    method="GET",
    path="/cards/{card_id}/transactions",
    needs=SIGNED_IN,
    summary="Transactions of one card, newest first, declines included.",
    tags=("transactions",),
)
GET_TRANSACTION = Http(
    name="get_transaction",
    domain="transactions",
    method="GET",
    path="/transactions/{transaction_id}",
    needs=SIGNED_IN,
    summary="One transaction: what happened to it, why, and what to do next.",
    tags=("transactions",),
)
RECEIVE_PROCESSOR_EVENT = Http(
    name="receive_processor_event",
    domain="transactions",
    method="POST",
    path="/webhooks/processor-events",
    audience=Audience.SIGNED,
    rate=RateClass.NONE,
    needs=frozenset({Capability.DATABASE_WORKER, Capability.PROCESSOR_INBOUND}),
    summary="Receive a signed event of a transaction from the processor.",
    tags=("transactions",),
)
EXPORT_CARD_TRANSACTIONS = Http(
    name="export_card_transactions",
    domain="transactions",
    method="GET",
    path="/cards/{card_id}/transactions/export",
    needs=SIGNED_IN,
    # Holds up to 5 MB in its parts and as a whole.
    memory_mb=1024,
    summary="Transactions of one card as CSV; a job where they are too many for one answer.",
    tags=("transactions",),
)
GET_TRANSACTION_EXPORT = Http(
    name="get_transaction_export",
    domain="transactions",
    method="GET",
    path="/cards/{card_id}/transactions/export/{job_id}",
    needs=SIGNED_IN | {Capability.EXPORT_LINKS},
    summary="How far an export is, and the link to its file.",
    tags=("transactions",),
)
RUN_TRANSACTION_EXPORTS = Schedule(
    name="run_transaction_exports",
    domain="transactions",
    every_s=60,
    needs=frozenset({Capability.DATABASE_WORKER, Capability.EXPORTS}),
    # Looks for work through its whole minute; what begins at its end may still take its time.
    timeout_s=90,
    memory_mb=1024,
    summary="Write exported transactions to files.",
)
LIST_PARKED_EVENTS = Http(
    name="list_parked_events",
    domain="transactions",
    method="GET",
    path="/admin/processor-events",
    roles=STAFF,
    needs=SIGNED_IN,
    summary="Events of the processor that belong to nothing we know.",
    tags=("admin",),
)
CLOSE_PARKED_EVENT = Http(
    name="close_parked_event",
    domain="transactions",
    method="POST",
    path="/admin/processor-events/{event_id}/close",
    roles=frozenset({Role.ADMIN}),
    step_up=True,
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN,
    summary="Try a parked event no more.",
    tags=("admin",),
)
RETRY_PARKED_EVENTS = Schedule(
    name="retry_parked_events",
    domain="transactions",
    every_s=60,
    needs=frozenset({Capability.DATABASE_WORKER}),
    # Looks for due events through its whole minute; the next run begins before this one ends.
    timeout_s=75,
    summary="Try again the processor's events that belonged to nothing we knew.",
)
EXPIRE_HOLDS = Schedule(
    name="expire_holds",
    domain="transactions",
    every_s=300,
    needs=frozenset({Capability.DATABASE_WORKER}),
    timeout_s=300,
    summary="Give back the holds that nobody cleared in time.",
)

ROWS = (
    LIST_TRANSACTIONS,
    GET_CARD_TRANSACTIONS,
    GET_TRANSACTION,
    RECEIVE_PROCESSOR_EVENT,
    EXPORT_CARD_TRANSACTIONS,
    GET_TRANSACTION_EXPORT,
    RUN_TRANSACTION_EXPORTS,
    LIST_PARKED_EVENTS,
    CLOSE_PARKED_EVENT,
    RETRY_PARKED_EVENTS,
    EXPIRE_HOLDS,
)
