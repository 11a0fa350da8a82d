"""PUT /notifications/preferences"""

from functions.door import ApiCall, Reply, door
from functions.notifications import routes
from functions.notifications.shapes import PreferencesRequest, PreferencesResponse

endpoint = door(routes.UPDATE_NOTIFICATION_PREFERENCES)


@endpoint.operation(
    response=PreferencesResponse,
    errors={
        400: ["if_match_invalid"],
        412: ["version_mismatch"],
        422: [
            "locale_unknown",
            "time_zone_unknown",
            "quiet_hours_empty",
            "category_unknown",
            "channel_unknown",
            "channel_required",
        ],
    },
)
def update_notification_preferences(body: PreferencesRequest, call: ApiCall) -> Reply:
    """Replace the caller's wishes; what is left out is as the defaults are.

    Messages of security wait for no quiet hours and no digest, and stay on by e-mail; the inbox takes everything.
    """
    preferences = call.api.notifications.put_preferences(call.actor, body.wanted(), call.operation_id, call.if_match)
    return Reply(PreferencesResponse.of(preferences), etag=preferences.version)


handler = endpoint.handler
