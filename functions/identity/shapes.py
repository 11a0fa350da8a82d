"""Documents the identity doors share."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from cardwright.http.fields import SecretText, StrictModel, Timestamp
from cardwright.identity.rules import Principal
from cardwright.identity.service import AccessToken, Profile, Tokens
from cardwright.kernel.errors import BrokenInvariantError
from cardwright.kernel.rows import Role
from cardwright.kernel.secret import Secret
from functions.door import ApiCall

Email = Annotated[str, Field(min_length=3, max_length=320, examples=["ada@example.com"])]
Password = Annotated[
    Secret[str], SecretText(min_length=1, max_length=128), Field(description="At least 12 characters when it is set.")
]
Code = Annotated[
    Secret[str],
    SecretText(min_length=6, max_length=32),
    Field(description="Six digits of the authenticator, or a recovery code."),
]
Token = Annotated[Secret[str], SecretText(min_length=1, max_length=512)]
EmailCode = Annotated[Secret[str], SecretText(min_length=6, max_length=6), Field(description="The six digits that were mailed.")]


def signed_in(call: ApiCall) -> Principal:
    """The caller of a row for users. Raises BrokenInvariantError on a public row."""
    if call.principal is None:
        raise BrokenInvariantError("this row is for signed-in users")
    return call.principal


class UserResponse(StrictModel):
    """The caller's own account."""

    id: UUID
    email: str
    first_name: str
    last_name: str
    role: Role
    organization_id: UUID | None
    email_verified: bool
    mfa_enrolled: bool
    version: int
    created_at: Timestamp

    @classmethod
    def of(cls, profile: Profile) -> "UserResponse":
        """Show a profile."""
        return cls(
            id=profile.user_id,
            email=profile.email,
            first_name=profile.first_name,
            last_name=profile.last_name,
            role=profile.role,
            organization_id=profile.organization_id,
            email_verified=profile.email_verified,
            mfa_enrolled=profile.mfa_enrolled,
            version=profile.version,
            created_at=profile.created_at,
        )


class AccessTokenResponse(StrictModel):
    """An access token (RFC 6750)."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the type's name, no secret
    expires_in: int = Field(description="Seconds.")

    @classmethod
    def of(cls, access: AccessToken) -> "AccessTokenResponse":
        """Show an access token."""
        return cls(access_token=access.token.reveal(), expires_in=access.expires_in)


class TokensResponse(AccessTokenResponse):
    """What a finished login or a refresh answers."""

    refresh_token: str
    user: UserResponse

    @classmethod
    def granted(cls, tokens: Tokens) -> "TokensResponse":
        """Show a pair of tokens."""
        return cls(
            access_token=tokens.access.token.reveal(),
            expires_in=tokens.access.expires_in,
            refresh_token=tokens.refresh.reveal(),
            user=UserResponse.of(tokens.profile),
        )
