"""Rows of the program doors."""

from cardwright.kernel.rows import SIGNED_IN, STAFF, Http, Idempotency, Role

LIST_PROGRAMS = Http(
    name="list_programs",
    domain="programs",
    method="GET",
    path="/admin/programs",
    roles=STAFF,
    needs=SIGNED_IN,
    summary="Programs, newest first.",
    tags=("admin",),
)
GET_PROGRAM = Http(
    name="get_program",
    domain="programs",
    method="GET",
    path="/admin/programs/{program_id}",
    roles=STAFF,
    needs=SIGNED_IN,
    summary="One program.",
    tags=("admin",),
)
CREATE_PROGRAM = Http(
    name="create_program",
    domain="programs",
    method="POST",
    path="/admin/programs",
    roles=frozenset({Role.ADMIN}),
    step_up=True,
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN,
    summary="Add a program that cards are issued in.",
    tags=("admin",),
)
UPDATE_PROGRAM = Http(
    name="update_program",
    domain="programs",
    method="PATCH",
    path="/admin/programs/{program_id}",
    roles=frozenset({Role.ADMIN}),
    step_up=True,
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN,
    summary="Change a program's defaults, or retire it.",
    tags=("admin",),
)

ROWS = (
    LIST_PROGRAMS,
    GET_PROGRAM,
    CREATE_PROGRAM,
    UPDATE_PROGRAM,
)
