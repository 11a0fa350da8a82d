"""GET /.well-known/jwks.json"""

from typing import Literal

from cardwright.http.fields import StrictModel
from functions.door import ApiCall, Reply, door
from functions.identity import routes

endpoint = door(routes.GET_JWKS)
# Keys change with a deployment, which keeps the old one for longer than this.
_CACHED = {"Cache-Control": "public, max-age=300"}


class Jwk(StrictModel):
    """An RSA public key."""

    kty: Literal["RSA"]
    use: Literal["sig"]
    alg: Literal["RS256"]
    kid: str
    n: str
    e: str


class JwksResponse(StrictModel):
    """A JWK set (RFC 7517)."""

    keys: list[Jwk]


@endpoint.operation(response=JwksResponse)
def get_jwks(call: ApiCall) -> Reply:
    """Public keys that verify access tokens."""
    return Reply(JwksResponse(keys=[Jwk.model_validate(key) for key in call.api.identity.jwks()]), headers=_CACHED)


handler = endpoint.handler
