"""POST /notifications/{notification_id}/read"""

from uuid import UUID

from functions.door import ApiCall, Reply, door
from functions.notifications import routes
from functions.notifications.shapes import NotificationResponse

endpoint = door(routes.READ_NOTIFICATION)


@endpoint.operation(response=NotificationResponse, errors={404: ["notification_not_found"]})
def read_notification(notification_id: UUID, call: ApiCall) -> Reply:
    """Note that the caller has read a notification; the first time counts."""
    return Reply(NotificationResponse.of(call.api.notifications.mark_read(call.actor, notification_id)))


handler = endpoint.handler
