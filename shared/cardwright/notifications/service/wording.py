"""The words of what was written down long ago, perhaps by a release whose templates are no more."""

from collections.abc import Mapping
from uuid import UUID

from cardwright.kernel.errors import BrokenInvariantError
from cardwright.notifications import rules
from cardwright.notifications.rules import Preferences, Texts
from cardwright.platform.telemetry import logger


def worded(notification_id: UUID, template: str, params: Mapping[str, str], preferences: Preferences) -> Texts:
    """A notification in its reader's language; general words for one that cannot be told any more, so that it hides no other."""
    try:
        return rules.render(template, preferences.locale, preferences.time_zone, params)
    except BrokenInvariantError:
        told = {"notification_id": str(notification_id), "template": template}
        logger.exception("a notification cannot be worded", extra=told)
        return rules.render(rules.UNREADABLE, preferences.locale, preferences.time_zone, {})
