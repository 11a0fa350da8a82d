"""GET /notifications"""

from typing import Annotated

from fastapi import Query

from cardwright.http.paging import CursorText, Limit, Page
from functions.door import ApiCall, Reply, door
from functions.notifications import routes
from functions.notifications.shapes import NotificationResponse

endpoint = door(routes.LIST_NOTIFICATIONS)

Unread = Annotated[bool, Query(description="Only those that were not read yet.")]


@endpoint.operation(response=Page[NotificationResponse])
def list_notifications(call: ApiCall, limit: Limit = 50, cursor: CursorText = None, unread: Unread = False) -> Reply:
    """What the caller was told, newest first, in the caller's language."""
    list_name = f"notifications:{unread}"
    found = call.api.notifications.list_notifications(call.actor, limit + 1, call.after(list_name, cursor), unread=unread)
    shown, pagination = call.page(found, limit, lambda one: one.notification_id, list_name)
    data = [NotificationResponse.of(entry) for entry in shown]
    return Reply(Page[NotificationResponse](data=data, pagination=pagination))


handler = endpoint.handler
