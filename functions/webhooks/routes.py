"""Rows of the webhook doors: subscriptions, and the workers that deliver."""

from cardwright.kernel.rows import SIGNED_IN, Audience, Capability, Http, Idempotency, Queue, RateClass, Role, Schedule, Task

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
UPDATE_WEBHOOK_SUBSCRIPTION = Http(
    name="update_webhook_subscription",
    domain="webhooks",
    method="PATCH",
    path="/webhooks/subscriptions/{subscription_id}",
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN,
    summary="Change a subscription; a new URL is verified before the next event.",
    tags=("webhooks",),
)
ROTATE_WEBHOOK_SECRET = Http(
    name="rotate_webhook_secret",
    domain="webhooks",
    method="POST",
    path="/webhooks/subscriptions/{subscription_id}/rotate-secret",
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN,
    summary="A new signing secret, shown once; the one before signs too for a while.",
    tags=("webhooks",),
)
SEND_TEST_EVENT = Http(
    name="send_test_event",
    domain="webhooks",
    method="POST",
    path="/webhooks/subscriptions/{subscription_id}/test",
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN,
    summary="Send a test event to one subscription.",
    tags=("webhooks",),
)
PAUSE_WEBHOOK_SUBSCRIPTION = Http(
    name="pause_webhook_subscription",
    domain="webhooks",
    method="POST",
    path="/webhooks/subscriptions/{subscription_id}/pause",
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN,
    summary="Send nothing until the subscription is reactivated.",
    tags=("webhooks",),
)
REACTIVATE_WEBHOOK_SUBSCRIPTION = Http(
    name="reactivate_webhook_subscription",
    domain="webhooks",
    method="POST",
    path="/webhooks/subscriptions/{subscription_id}/reactivate",
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN,
    summary="Begin to send again, first of all what was missed.",
    tags=("webhooks",),
)
REPLAY_WEBHOOK_EVENTS = Http(
    name="replay_webhook_events",
    domain="webhooks",
    method="POST",
    path="/webhooks/subscriptions/{subscription_id}/replay",
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN,
    summary="Send one event again, or those of a range of time.",
    tags=("webhooks",),
)
LIST_WEBHOOK_REPLAYS = Http(
    name="list_webhook_replays",
    domain="webhooks",
    method="GET",
    path="/webhooks/subscriptions/{subscription_id}/replays",
    needs=SIGNED_IN,
    summary="Replays of one subscription, newest first.",
    tags=("webhooks",),
)
GET_WEBHOOK_REPLAY = Http(
    name="get_webhook_replay",
    domain="webhooks",
    method="GET",
    path="/webhooks/subscriptions/{subscription_id}/replays/{replay_id}",
    needs=SIGNED_IN,
    summary="How far a replay is.",
    tags=("webhooks",),
)
GET_WEBHOOK_DELIVERY = Http(
    name="get_webhook_delivery",
    domain="webhooks",
    method="GET",
    path="/webhooks/subscriptions/{subscription_id}/deliveries/{event_id}",
    needs=SIGNED_IN,
    summary="One event's delivery with its attempts.",
    tags=("webhooks",),
)
LIST_ALL_DELIVERIES = Http(
    name="list_all_deliveries",
    domain="webhooks",
    method="GET",
    path="/admin/deliveries",
    roles=frozenset({Role.ADMIN, Role.SUPPORT}),
    needs=SIGNED_IN,
    summary="Deliveries to everybody's subscriptions, newest first.",
    tags=("webhooks",),
)
LIST_EVENT_TYPES = Http(
    name="list_event_types",
    domain="webhooks",
    method="GET",
    path="/webhooks/event-types",
    audience=Audience.PUBLIC,
    rate=RateClass.NONE,
    summary="The events that can be subscribed to.",
    tags=("webhooks",),
)
GET_EVENT_SCHEMA = Http(
    name="get_event_schema",
    domain="webhooks",
    method="GET",
    path="/webhooks/event-types/{event_type}/schema",
    audience=Audience.PUBLIC,
    rate=RateClass.NONE,
    summary="The JSON Schema of an event's message.",
    tags=("webhooks",),
)
_DELIVERY = frozenset({Capability.DATABASE_WORKER, Capability.CACHE, Capability.SEALING_SECRET, Capability.WEBHOOK_SENDER})
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
SEND_WEBHOOK = Task(
    name="send_webhook",
    domain="webhooks",
    # Nothing else: what a subscriber could make of it would reach no data and no keys.
    needs=frozenset({Capability.INTERNET}),
    # A post ends after 15 s; the caller waits for 20.
    timeout_s=18,
    memory_mb=256,
    # Receivers that hang hold this many executions and no more of the account's.
    reserved_concurrency=200,
    summary="Post to a subscriber's URL, from where nothing of ours can be reached.",
)

ROWS = (
    CREATE_WEBHOOK_SUBSCRIPTION,
    LIST_WEBHOOK_SUBSCRIPTIONS,
    GET_WEBHOOK_SUBSCRIPTION,
    DELETE_WEBHOOK_SUBSCRIPTION,
    LIST_WEBHOOK_DELIVERIES,
    UPDATE_WEBHOOK_SUBSCRIPTION,
    ROTATE_WEBHOOK_SECRET,
    SEND_TEST_EVENT,
    PAUSE_WEBHOOK_SUBSCRIPTION,
    REACTIVATE_WEBHOOK_SUBSCRIPTION,
    REPLAY_WEBHOOK_EVENTS,
    LIST_WEBHOOK_REPLAYS,
    GET_WEBHOOK_REPLAY,
    GET_WEBHOOK_DELIVERY,
    LIST_ALL_DELIVERIES,
    LIST_EVENT_TYPES,
    GET_EVENT_SCHEMA,
    PROCESS_EVENT_QUEUE,
    RETRY_WEBHOOK_DELIVERIES,
    SEND_WEBHOOK,
)
