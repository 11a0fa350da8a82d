"""GET /.well-known/openid-configuration"""

from cardwright.http.fields import StrictModel
from functions.door import ApiCall, Reply, door
from functions.identity import routes

endpoint = door(routes.GET_OPENID_CONFIGURATION)
_CACHED = {"Cache-Control": "public, max-age=300"}


class MetadataResponse(StrictModel):
    """Issuer metadata (OpenID Connect Discovery 1.0, as far as it applies)."""

    issuer: str
    jwks_uri: str
    id_token_signing_alg_values_supported: list[str]
    subject_types_supported: list[str]
    claims_supported: list[str]
    access_token_lifetime: int


@endpoint.operation(response=MetadataResponse)
def get_openid_configuration(call: ApiCall) -> Reply:
    """Where tokens come from and how to verify them."""
    return Reply(MetadataResponse.model_validate(call.api.identity.metadata()), headers=_CACHED)


handler = endpoint.handler
