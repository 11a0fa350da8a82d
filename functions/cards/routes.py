"""Rows of the card doors."""

from cardwright.kernel.rows import SIGNED_IN, Audience, Capability, Http, Idempotency, Role, Schedule

_ISSUES = frozenset({Capability.PROCESSOR, Capability.VAULT_KEY, Capability.MAC_KEY})

CREATE_VIRTUAL_CARD = Http(
    name="create_virtual_card",
    domain="cards",
    method="POST",
    path="/cards",
    roles=frozenset({Role.CARDHOLDER}),
    step_up=True,
    idempotency=Idempotency.REQUIRED,
    needs=SIGNED_IN | _ISSUES,
    memory_mb=1024,
    summary="Issue a virtual card.",
    tags=("cards",),
)
LIST_CARDS = Http(
    name="list_cards",
    domain="cards",
    method="GET",
    path="/cards",
    needs=SIGNED_IN,
    summary="The caller's cards, newest first; to staff everybody's.",
    tags=("cards",),
)
GET_CARD = Http(
    name="get_card",
    domain="cards",
    method="GET",
    path="/cards/{card_id}",
    needs=SIGNED_IN,
    summary="One card.",
    tags=("cards",),
)
FREEZE_CARD = Http(
    name="freeze_card",
    domain="cards",
    method="POST",
    path="/cards/{card_id}/freeze",
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN | {Capability.PROCESSOR},
    summary="Freeze a card: the next authorization is declined.",
    tags=("cards",),
)
UNFREEZE_CARD = Http(
    name="unfreeze_card",
    domain="cards",
    method="POST",
    path="/cards/{card_id}/unfreeze",
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN | {Capability.PROCESSOR},
    summary="Make a frozen card active again.",
    tags=("cards",),
)

CANCEL_CARD = Http(
    name="cancel_card",
    domain="cards",
    method="DELETE",
    path="/cards/{card_id}",
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN | {Capability.PROCESSOR},
    summary="Cancel a card for good.",
    tags=("cards",),
)
REPLACE_CARD = Http(
    name="replace_card",
    domain="cards",
    method="POST",
    path="/cards/{card_id}/replace",
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN | _ISSUES,
    memory_mb=1024,
    summary="Cancel a lost, stolen or compromised card and issue another in its place.",
    tags=("cards",),
)
UPDATE_CARD = Http(
    name="update_card",
    domain="cards",
    method="PATCH",
    path="/cards/{card_id}",
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN,
    summary="Give a card another label.",
    tags=("cards",),
)
SEARCH_CARDS = Http(
    name="search_cards",
    domain="cards",
    method="GET",
    path="/admin/cards",
    roles=frozenset({Role.SUPPORT, Role.ADMIN, Role.COMPLIANCE_OFFICER}),
    needs=SIGNED_IN,
    summary="Cards of everybody, filtered.",
    tags=("admin",),
)
LIST_PROCESSOR_FINDINGS = Http(
    name="list_processor_findings",
    domain="cards",
    method="GET",
    path="/admin/processor-findings",
    roles=frozenset({Role.SUPPORT, Role.ADMIN, Role.COMPLIANCE_OFFICER}),
    needs=SIGNED_IN,
    summary="What differs between the processor's cards and ours.",
    tags=("admin",),
)
GET_CARD_LIMITS = Http(
    name="get_card_limits",
    domain="cards",
    method="GET",
    path="/cards/{card_id}/limits",
    needs=SIGNED_IN,
    summary="A card's limits and settings, what remains of them and when each window resets.",
    tags=("cards",),
)
UPDATE_CARD_LIMITS = Http(
    name="update_card_limits",
    domain="cards",
    method="PUT",
    path="/cards/{card_id}/limits",
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN | {Capability.PROCESSOR},
    summary="Change a card's limits and settings; the next authorization is held to them.",
    tags=("cards",),
)
REVEAL_CARD = Http(
    name="reveal_card",
    domain="cards",
    method="POST",
    path="/cards/{card_id}/reveal",
    roles=frozenset({Role.CARDHOLDER}),
    step_up=True,
    needs=SIGNED_IN,
    summary="A single-use URL of a view that shows the card's number.",
    tags=("cards",),
)
OPEN_CARD_REVEAL = Http(
    name="open_card_reveal",
    domain="cards",
    method="GET",
    path="/reveals/{reveal_token}",
    audience=Audience.PUBLIC,
    needs=frozenset({Capability.DATABASE_APP, Capability.CACHE, Capability.PROCESSOR}),
    summary="Leads a browser's frame to the processor's view of a card, once.",
    tags=("cards",),
)
CREATE_CARD_BATCH = Http(
    name="create_card_batch",
    domain="cards",
    method="POST",
    path="/cards/batch",
    roles=frozenset({Role.CARDHOLDER}),
    step_up=True,
    idempotency=Idempotency.REQUIRED,
    body_limit=2 * 1024 * 1024,
    needs=SIGNED_IN,
    summary="Issue up to 1,000 cards as a job.",
    tags=("cards",),
)
GET_CARD_BATCH = Http(
    name="get_card_batch",
    domain="cards",
    method="GET",
    path="/cards/batch/{job_id}",
    needs=SIGNED_IN,
    summary="How far a batch is, and what became of each item.",
    tags=("cards",),
)
_SWEEPS = frozenset({Capability.DATABASE_WORKER, Capability.CACHE, Capability.PROCESSOR})
RUN_CARD_BATCHES = Schedule(
    name="run_card_batches",
    domain="cards",
    every_s=60,
    needs=_SWEEPS | _ISSUES,
    # Looks for work through its whole minute; what begins at its end may still take its time.
    timeout_s=90,
    memory_mb=1024,
    summary="Work off batches of cards.",
)
SWEEP_CARD_ISSUANCES = Schedule(
    name="sweep_card_issuances",
    domain="cards",
    every_s=60,
    needs=_SWEEPS | _ISSUES,
    timeout_s=60,
    memory_mb=1024,
    summary="Finish issuances whose maker died, and close what failed ones left at the processor.",
)
SWEEP_CARDS = Schedule(
    name="sweep_cards",
    domain="cards",
    every_s=60,
    needs=_SWEEPS,
    timeout_s=60,
    summary="Cancel cards whose time has come, and tell the processor what it has not confirmed.",
)
EXPIRE_CARDS = Schedule(
    name="expire_cards",
    domain="cards",
    # A schedule of a day begins whenever it was deployed: each hour, so that none lags a day behind its month's end.
    every_s=3600,
    needs=frozenset({Capability.DATABASE_WORKER, Capability.CACHE}),
    timeout_s=300,
    summary="Expire cards whose last month is over.",
)
COMPARE_PROCESSOR_CARDS = Schedule(
    name="compare_processor_cards",
    domain="cards",
    every_s=3600,
    needs=_SWEEPS,
    timeout_s=300,
    summary="Compare our cards with the processor's; mend what is safe, report the rest.",
)

ROWS = (
    CREATE_VIRTUAL_CARD,
    LIST_CARDS,
    GET_CARD,
    FREEZE_CARD,
    UNFREEZE_CARD,
    CANCEL_CARD,
    REPLACE_CARD,
    UPDATE_CARD,
    SEARCH_CARDS,
    LIST_PROCESSOR_FINDINGS,
    GET_CARD_LIMITS,
    UPDATE_CARD_LIMITS,
    REVEAL_CARD,
    OPEN_CARD_REVEAL,
    CREATE_CARD_BATCH,
    GET_CARD_BATCH,
    RUN_CARD_BATCHES,
    SWEEP_CARD_ISSUANCES,
    SWEEP_CARDS,
    EXPIRE_CARDS,
    COMPARE_PROCESSOR_CARDS,
)
