"""Short-lived IAM tokens by AWS Signature Version 4, with the standard library alone: the authorization path stays light.

Presigned requests as RDS (action rds-db:connect) and ElastiCache (action elasticache:Connect) define them; a test compares each
with botocore's.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

RDS_SECONDS = 900
ELASTICACHE_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Credentials:
    """Keys of the role; the secret parts are not shown."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


def rds_token(credentials: Credentials, region: str, host: str, port: int, user: str, now: datetime) -> str:
    """Password for an IAM database user, valid 15 minutes. `host` is the one connected to."""
    query = {"Action": "connect", "DBUser": user}
    return _presign(credentials, region, "rds-db", f"{host}:{port}", query, RDS_SECONDS, now)


def elasticache_token(credentials: Credentials, region: str, cache_name: str, user: str, now: datetime) -> str:
    """Password for an IAM cache user of a serverless cache, valid 15 minutes. `cache_name` is its name in lower case."""
    query = {"Action": "connect", "User": user, "ResourceType": "ServerlessCache"}
    return _presign(credentials, region, "elasticache", cache_name, query, ELASTICACHE_SECONDS, now)


def _presign(
    credentials: Credentials, region: str, service: str, host: str, query: dict[str, str], expires_s: int, now: datetime
) -> str:
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    signed = {
        **query,
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{credentials.access_key}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(expires_s),
        "X-Amz-SignedHeaders": "host",
    }
    if credentials.session_token:
        signed["X-Amz-Security-Token"] = credentials.session_token
    canonical_query = "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted(signed.items())
    )
    empty = hashlib.sha256(b"").hexdigest()
    canonical = f"GET\n/\n{canonical_query}\nhost:{host}\n\nhost\n{empty}"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{credentials.secret_key}".encode()
    for part in (stamp[:8], region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return f"{host}/?{canonical_query}&X-Amz-Signature={signature}"
