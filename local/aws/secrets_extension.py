"""The Secrets Manager half of the Parameters and Secrets Lambda extension: a secret over local HTTP."""

from typing import Final
from urllib.parse import parse_qs

from moto.core.exceptions import JsonRESTError
from moto.secretsmanager.models import secretsmanager_backends

from local.aws.archive import ACCOUNT
from local.aws.asgi import HttpAnswer, HttpRequest, json_answer

PATH: Final = "/secretsmanager/get"
_TOKEN: Final = "x-aws-parameters-secrets-token"  # noqa: S105 - a header's name
_PASSED_ON: Final = ("ARN", "Name", "SecretBinary", "SecretString", "VersionId", "VersionStages")


def answer(request: HttpRequest, region: str) -> HttpAnswer:
    """GET with secretId, versionId? and versionStage?, answered as GetSecretValue would.

    The token's presence is checked as in Lambda, its value is not: here it belongs to nobody.
    Source: Secrets Manager User Guide, "Use Secrets Manager secrets in Lambda functions".
    """
    if not request.named.get(_TOKEN):
        return json_answer(401, {"message": "not able to parse the token header X-Aws-Parameters-Secrets-Token"})
    if request.method != "GET":
        return json_answer(405, {"message": "only GET is allowed"}, [("Allow", "GET")])
    query = {name: values[0] for name, values in parse_qs(request.query).items()}
    if "secretId" not in query:
        return json_answer(400, {"__type": "InvalidParameterException", "message": "secretId is missing"})
    backend = secretsmanager_backends[ACCOUNT][region]
    try:
        found = backend.get_secret_value(
            query["secretId"], query.get("versionId") or "", query.get("versionStage") or "AWSCURRENT"
        )
    except JsonRESTError as error:
        return json_answer(400, {"__type": error.error_type, "message": error.message})
    return json_answer(200, {name: found[name] for name in _PASSED_ON if found.get(name) is not None})
