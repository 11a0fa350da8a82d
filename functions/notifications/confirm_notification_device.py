"""POST /notifications/devices/{device_id}/confirm"""

from uuid import UUID

from functions.door import ApiCall, Reply, door
from functions.notifications import routes
from functions.notifications.shapes import DeviceConfirmRequest, DeviceResponse

endpoint = door(routes.CONFIRM_NOTIFICATION_DEVICE)


@endpoint.operation(
    response=DeviceResponse, errors={404: ["device_not_found"], 409: ["device_busy"], 422: ["device_code_invalid"]}
)
def confirm_notification_device(device_id: UUID, body: DeviceConfirmRequest, call: ApiCall) -> Reply:
    """Confirm a number by the code that was texted to it; from then on it is nobody else's."""
    return Reply(DeviceResponse.of(call.api.notification_devices.confirm_device(call.actor, device_id, body.code)))


handler = endpoint.handler
