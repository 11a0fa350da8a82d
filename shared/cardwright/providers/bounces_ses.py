"""What Amazon SES tells of mail it took: its notifications, through SNS, in a queue of ours (docs.aws.amazon.com, SES)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import parseaddr
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cardwright.kernel import jsontext
from cardwright.kernel.errors import InvalidRequestError
from cardwright.kernel.secret import Secret
from cardwright.notifications.ports import Bounce
from cardwright.notifications.rules import Because

_PERMANENT = "Permanent"


class _Recipient(BaseModel):
    address: str = Field(alias="emailAddress", max_length=1000)


class _Bounced(BaseModel):
    kind: str = Field(default="", alias="bounceType")
    recipients: list[_Recipient] = Field(default_factory=list, alias="bouncedRecipients")


class _Complained(BaseModel):
    recipients: list[_Recipient] = Field(default_factory=list, alias="complainedRecipients")


class _Notice(BaseModel):
    """A notification of an identity's topic, or an event of a configuration set: they differ in one name."""

    model_config = ConfigDict(extra="ignore")

    bounce: _Bounced | None = None
    complaint: _Complained | None = None

    def found(self) -> list[tuple[str, Because]]:
        """Addresses that are dead, and why. A mailbox that is full, or a server that is away, is not."""
        dead = []
        if self.bounce is not None and self.bounce.kind == _PERMANENT:
            dead += [(one.address, Because.BOUNCE) for one in self.bounce.recipients]
        if self.complaint is not None:
            dead += [(one.address, Because.COMPLAINT) for one in self.complaint.recipients]
        return dead


class SesBounces:
    """Reads messages of a queue, whose policy lets SES's topic alone write to it: they are not signed for us to check."""

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Bounce]:
        """The dead addresses of one notification, in SNS's envelope or raw. Raises InvalidRequestError."""
        try:
            notice = _Notice.model_validate(_unwrapped(jsontext.parse(body)))
        except ValidationError:
            raise InvalidRequestError("The report has not the fields it must have.", code="event_invalid") from None
        named = ((parseaddr(address)[1], because) for address, because in notice.found())
        return [Bounce("email", Secret(address), because) for address, because in named if address]


def _unwrapped(document: Any) -> Any:
    inner = document.get("Message") if isinstance(document, dict) and document.get("Type") == "Notification" else None
    return jsontext.parse(inner.encode()) if isinstance(inner, str) else document
