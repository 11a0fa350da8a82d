"""POST /notifications/devices"""

from functions.door import ApiCall, Reply, door
from functions.notifications import routes
from functions.notifications.shapes import DeviceRequest, DeviceResponse

endpoint = door(routes.REGISTER_NOTIFICATION_DEVICE)


@endpoint.operation(
    response=DeviceResponse,
    status=201,
    errors={
        409: ["too_many_devices", "device_busy", "device_differs"],
        422: ["platform_missing", "token_invalid", "phone_number_invalid", "phone_number_refused"],
        503: ["messages_unavailable"],
    },
)
def register_notification_device(body: DeviceRequest, call: ApiCall) -> Reply:
    """Add a device; the same token or number again is the same device.

    A push token takes messages at once, and nobody else's any more. A number is UNCONFIRMED until its code is confirmed: the code
    is good for ten minutes and five tries, and three are texted an hour at most.
    """
    device = call.api.notification_devices.register_device(call.actor, body.wanted(), call.operation_id)
    location = f"{routes.LIST_NOTIFICATION_DEVICES.full_path}/{device.device_id}"
    return Reply(DeviceResponse.of(device), headers={"Location": location})


handler = endpoint.handler
