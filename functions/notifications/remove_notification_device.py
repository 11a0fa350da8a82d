"""DELETE /notifications/devices/{device_id}"""

from uuid import UUID

from functions.door import ApiCall, Reply, door
from functions.notifications import routes

endpoint = door(routes.REMOVE_NOTIFICATION_DEVICE)


@endpoint.operation(status=204, errors={404: ["device_not_found"]})
def remove_notification_device(device_id: UUID, call: ApiCall) -> Reply:
    """Remove a device or a number; what waits for it is not sent."""
    call.api.notification_devices.remove_device(call.actor, device_id)
    return Reply()


handler = endpoint.handler
