"""Rows of the card doors."""

from cardwright.kernel.rows import SIGNED_IN, Capability, Http, Idempotency, Role

CREATE_VIRTUAL_CARD = Http(
    name="create_virtual_card",
    domain="cards",
    method="POST",
    path="/cards",
    roles=frozenset({Role.CARDHOLDER}),
    step_up=True,
    idempotency=Idempotency.REQUIRED,
    needs=SIGNED_IN | {Capability.PROCESSOR, Capability.VAULT_KEY, Capability.MAC_KEY},
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
    summary="The caller's cards, newest first.",
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

ROWS = (CREATE_VIRTUAL_CARD, LIST_CARDS, GET_CARD, FREEZE_CARD, UNFREEZE_CARD)
