"""GET /notifications/devices"""

from functions.door import ApiCall, Reply, door
from functions.notifications import routes
from functions.notifications.shapes import DeviceListResponse, DeviceResponse

endpoint = door(routes.LIST_NOTIFICATION_DEVICES)


@endpoint.operation(response=DeviceListResponse)
def list_notification_devices(call: ApiCall) -> Reply:
    """The caller's devices, twenty at most; of a number the last four digits are shown, of a push token nothing."""
    found = call.api.notification_devices.list_devices(call.actor)
    return Reply(DeviceListResponse(data=[DeviceResponse.of(device) for device in found]))


handler = endpoint.handler
