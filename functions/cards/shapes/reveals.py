"""Documents of reveals."""

from pydantic import ConfigDict, Field

from cardwright.cards.service import Reveal
from cardwright.http.fields import StrictModel, Timestamp


class RevealRequest(StrictModel):
    """Nothing needs to be said."""


class RevealResponse(StrictModel):
    """Where a card's number is to be seen, once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "url": "https://api.example.com/api/v1/reveals/AZqyW8eFcAC1Xv0Gm3oTtQ",
                    "expires_at": "2026-11-21T10:01:00.000Z",
                }
            ]
        }
    )

    url: str = Field(description="Source of a frame. The first request spends it, whoever makes it.")
    expires_at: Timestamp

    @classmethod
    def of(cls, reveal: Reveal, door_url: str) -> "RevealResponse":
        """The document of a permission, good at the door whose URL has `{reveal_token}` in it."""
        return cls(url=door_url.replace("{reveal_token}", reveal.token.reveal()), expires_at=reveal.expires_at)
