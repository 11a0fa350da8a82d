"""Rows of the settlement doors."""

from cardwright.kernel.rows import SIGNED_IN, STAFF, Capability, Http, Idempotency, Role, Schedule

LIST_SETTLEMENT_CASES = Http(
    name="list_settlement_cases",
    domain="settlement",
    method="GET",
    path="/admin/settlement/cases",
    roles=STAFF,
    needs=SIGNED_IN,
    summary="What the comparison with the processor found that somebody has to look at.",
    tags=("admin",),
)
CLOSE_SETTLEMENT_CASE = Http(
    name="close_settlement_case",
    domain="settlement",
    method="POST",
    path="/admin/settlement/cases/{case_id}/close",
    roles=frozenset({Role.ADMIN}),
    step_up=True,
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN,
    summary="Close a case with a note of what was done about it.",
    tags=("admin",),
)
LIST_SETTLEMENT_RUNS = Http(
    name="list_settlement_runs",
    domain="settlement",
    method="GET",
    path="/admin/settlement/runs",
    roles=STAFF,
    needs=SIGNED_IN,
    summary="What each run of the comparison with the processor did.",
    tags=("admin",),
)
RECONCILE_SETTLEMENT = Schedule(
    name="reconcile_settlement",
    domain="settlement",
    every_s=1800,
    needs=frozenset({Capability.DATABASE_WORKER, Capability.CACHE, Capability.PROCESSOR}),
    # The longest a Lambda may run: a long file is gone on with by the next run.
    timeout_s=900,
    memory_mb=1024,
    summary="Compare transactions and settlement files with the processor's; mend what is safe, report the rest.",
)

ROWS = (
    LIST_SETTLEMENT_CASES,
    CLOSE_SETTLEMENT_CASE,
    LIST_SETTLEMENT_RUNS,
    RECONCILE_SETTLEMENT,
)
