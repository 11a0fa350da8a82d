"""GET /notifications/preferences"""

from functions.door import ApiCall, Reply, door
from functions.notifications import routes
from functions.notifications.shapes import PreferencesResponse

endpoint = door(routes.GET_NOTIFICATION_PREFERENCES)


@endpoint.operation(response=PreferencesResponse)
def get_notification_preferences(call: ApiCall) -> Reply:
    """How the caller wishes to be told: the defaults for who never said."""
    preferences = call.api.notifications.get_preferences(call.actor)
    return Reply(PreferencesResponse.of(preferences), etag=preferences.version)


handler = endpoint.handler
