"""Rows of the ledger doors."""

from cardwright.kernel.rows import SIGNED_IN, STAFF, Capability, Http, Idempotency, Role, Schedule

GET_LEDGER_BALANCES = Http(
    name="get_ledger_balances",
    domain="ledger",
    method="GET",
    path="/admin/ledger/balances",
    roles=STAFF,
    needs=SIGNED_IN,
    summary="What stands on a card's accounts.",
    tags=("admin",),
)
LIST_LEDGER_POSTINGS = Http(
    name="list_ledger_postings",
    domain="ledger",
    method="GET",
    path="/admin/ledger/postings",
    roles=STAFF,
    needs=SIGNED_IN,
    summary="A card's postings, newest first.",
    tags=("admin",),
)
MOVE_CARD_FUNDS = Http(
    name="move_card_funds",
    domain="ledger",
    method="POST",
    path="/admin/cards/{card_id}/funds",
    roles=frozenset({Role.ADMIN}),
    step_up=True,
    # Without a key a caller that tries again would move the money twice.
    idempotency=Idempotency.REQUIRED,
    needs=SIGNED_IN,
    summary="Load money onto a card that a balance funds, or withdraw what is free of it.",
    tags=("admin",),
)
CHECK_LEDGER = Schedule(
    name="check_ledger",
    domain="ledger",
    every_s=3600,
    needs=frozenset({Capability.DATABASE_WORKER}),
    timeout_s=300,
    summary="Look whether every posting still balances.",
)

ROWS = (GET_LEDGER_BALANCES, LIST_LEDGER_POSTINGS, MOVE_CARD_FUNDS, CHECK_LEDGER)
