"""Rows of the webhook doors: subscriptions, and the workers that deliver."""

from cardwright.kernel.rows import SIGNED_IN, Capability, Http, Idempotency, Queue, Schedule

CREATE_WEBHOOK_SUBSCRIPTION = Http(
    name="create_webhook_subscription",
    domain="webhooks",
    method="POST",
    path="/webhooks/subscriptions",
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN,
    summary="Subscribe a URL to events; the signing secret is shown once.",
    tags=("webhooks",),
)
LIST_WEBHOOK_SUBSCRIPTIONS = Http(
    name="list_webhook_subscriptions",
    domain="webhooks",
    method="GET",
    path="/webhooks/subscriptions",
    needs=SIGNED_IN,
    summary="The caller's subscriptions, newest first.",
    tags=("webhooks",),
)
GET_WEBHOOK_SUBSCRIPTION = Http(
    name="get_webhook_subscription",
    domain="webhooks",
    method="GET",
    path="/webhooks/subscriptions/{subscription_id}",
    needs=SIGNED_IN,
    summary="One subscription.",
    tags=("webhooks",),
)
DELETE_WEBHOOK_SUBSCRIPTION = Http(
    name="delete_webhook_subscription",
    domain="webhooks",
    method="DELETE",
    path="/webhooks/subscriptions/{subscription_id}",
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN,
    summary="End a subscription; nothing more is sent to it.",
    tags=("webhooks",),
)
LIST_WEBHOOK_DELIVERIES = Http(
    name="list_webhook_deliveries",
    domain="webhooks",
    method="GET",
    path="/webhooks/subscriptions/{subscription_id}/deliveries",
    needs=SIGNED_IN,
    summary="Deliveries to one subscription with their attempts, newest first.",
    tags=("webhooks",),
)
_DELIVERY = frozenset({Capability.DATABASE_WORKER, Capability.SEALING_SECRET, Capability.INTERNET})
PROCESS_EVENT_QUEUE = Queue(
    name="process_event_queue",
    domain="webhooks",
    queue="events",
    needs=_DELIVERY,
    timeout_s=30,
    visibility_s=180,
    summary="Fan events out to subscriptions and make each delivery's first attempt.",
)
RETRY_WEBHOOK_DELIVERIES = Schedule(
    name="retry_webhook_deliveries",
    domain="webhooks",
    every_s=60,
    needs=_DELIVERY,
    # Looks for the whole of its minute; an attempt that begins at its end still gets its 15 s.
    timeout_s=80,
    summary="Attempt deliveries whose next attempt is due.",
)

ROWS = (
    CREATE_WEBHOOK_SUBSCRIPTION,
    LIST_WEBHOOK_SUBSCRIPTIONS,
    GET_WEBHOOK_SUBSCRIPTION,
    DELETE_WEBHOOK_SUBSCRIPTION,
    LIST_WEBHOOK_DELIVERIES,
    PROCESS_EVENT_QUEUE,
    RETRY_WEBHOOK_DELIVERIES,
)
