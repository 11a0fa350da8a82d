"""Rows of the notification doors, and of the workers that tell people."""

from cardwright.kernel.rows import SIGNED_IN, Audience, Capability, Http, Idempotency, Queue, RateClass, Role, Schedule

LIST_NOTIFICATIONS = Http(
    name="list_notifications",
    domain="notifications",
    method="GET",
    path="/notifications",
    needs=SIGNED_IN,
    summary="The caller's inbox, newest first.",
    tags=("notifications",),
)
READ_NOTIFICATION = Http(
    name="read_notification",
    domain="notifications",
    method="POST",
    path="/notifications/{notification_id}/read",
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN,
    summary="Note that a notification was read.",
    tags=("notifications",),
)
GET_NOTIFICATION_PREFERENCES = Http(
    name="get_notification_preferences",
    domain="notifications",
    method="GET",
    path="/notifications/preferences",
    needs=SIGNED_IN,
    summary="How the caller wishes to be told.",
    tags=("notifications",),
)
UPDATE_NOTIFICATION_PREFERENCES = Http(
    name="update_notification_preferences",
    domain="notifications",
    method="PUT",
    path="/notifications/preferences",
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN,
    summary="Set how the caller wishes to be told.",
    tags=("notifications",),
)
LIST_NOTIFICATION_DEVICES = Http(
    name="list_notification_devices",
    domain="notifications",
    method="GET",
    path="/notifications/devices",
    needs=SIGNED_IN,
    summary="The caller's devices and numbers, newest first.",
    tags=("notifications",),
)
REGISTER_NOTIFICATION_DEVICE = Http(
    name="register_notification_device",
    domain="notifications",
    method="POST",
    path="/notifications/devices",
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN | {Capability.USER_KEY, Capability.MESSAGES},
    summary="Add a device by its push token, or a number, which is texted a code.",
    tags=("notifications",),
)
CONFIRM_NOTIFICATION_DEVICE = Http(
    name="confirm_notification_device",
    domain="notifications",
    method="POST",
    path="/notifications/devices/{device_id}/confirm",
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN,
    summary="Confirm a number by the code that was texted to it.",
    tags=("notifications",),
)
REMOVE_NOTIFICATION_DEVICE = Http(
    name="remove_notification_device",
    domain="notifications",
    method="DELETE",
    path="/notifications/devices/{device_id}",
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN,
    summary="Remove a device or a number; it is told nothing more.",
    tags=("notifications",),
)
SEND_NOTIFICATION = Http(
    name="send_notification",
    domain="notifications",
    method="POST",
    path="/notifications/send",
    roles=frozenset({Role.ADMIN}),
    step_up=True,
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN,
    summary="Tell somebody by a template.",
    tags=("notifications",),
)
# Whoever reports is let in by a signature alone: no right to send, nor to open what belongs to people.
_REPORTED = frozenset({Capability.DATABASE_WORKER, Capability.SEALING_SECRET})
RECEIVE_SENDGRID_EVENTS = Http(
    name="receive_sendgrid_events",
    domain="notifications",
    method="POST",
    path="/webhooks/messages/sendgrid",
    audience=Audience.SIGNED,
    rate=RateClass.NONE,
    body_limit=2 * 1024 * 1024,
    needs=_REPORTED | {Capability.MESSAGES_INBOUND},
    summary="Receive signed reports of mail from SendGrid.",
    tags=("notifications",),
)
RECEIVE_TWILIO_STATUS = Http(
    name="receive_twilio_status",
    domain="notifications",
    method="POST",
    path="/webhooks/messages/twilio",
    audience=Audience.SIGNED,
    rate=RateClass.NONE,
    needs=_REPORTED | {Capability.MESSAGES_INBOUND},
    summary="Receive a signed report of a text from Twilio.",
    tags=("notifications",),
)
PROCESS_MESSAGE_EVENTS = Queue(
    name="process_message_events",
    domain="notifications",
    queue="message-events",
    needs=_REPORTED,
    timeout_s=30,
    visibility_s=180,
    summary="Take what SES reports of mail, through SNS.",
)
_TELLING = frozenset(
    {
        Capability.DATABASE_WORKER,
        Capability.CACHE,
        Capability.SEALING_SECRET,
        Capability.USER_KEY,
        Capability.MESSAGES,
    }
)
PROCESS_NOTIFICATION_QUEUE = Queue(
    name="process_notification_queue",
    domain="notifications",
    queue="notifications",
    needs=_TELLING,
    timeout_s=45,
    visibility_s=270,
    summary="Write down whom events are told to, and send what goes at once.",
)
SEND_DUE_NOTIFICATIONS = Schedule(
    name="send_due_notifications",
    domain="notifications",
    every_s=60,
    needs=_TELLING,
    # Looks for the whole of its minute; what begins at its end still gets its 20 s.
    timeout_s=80,
    summary="Send notifications that were held back, and those that are tried again.",
)

ROWS = (
    LIST_NOTIFICATIONS,
    READ_NOTIFICATION,
    GET_NOTIFICATION_PREFERENCES,
    UPDATE_NOTIFICATION_PREFERENCES,
    LIST_NOTIFICATION_DEVICES,
    REGISTER_NOTIFICATION_DEVICE,
    CONFIRM_NOTIFICATION_DEVICE,
    REMOVE_NOTIFICATION_DEVICE,
    SEND_NOTIFICATION,
    RECEIVE_SENDGRID_EVENTS,
    RECEIVE_TWILIO_STATUS,
    PROCESS_MESSAGE_EVENTS,
    PROCESS_NOTIFICATION_QUEUE,
    SEND_DUE_NOTIFICATIONS,
)
