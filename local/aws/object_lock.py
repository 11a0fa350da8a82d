"""S3 Object Lock as AWS holds it, in front of moto, which lets a COMPLIANCE retention be shortened and downgraded."""

import re
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs, unquote
from xml.etree.ElementTree import Element, ParseError, fromstring
from xml.sax.saxutils import escape

from moto.core.utils import utcnow
from moto.s3.models import FakeBucket, FakeKey, s3_backends

from local.aws.asgi import HttpAnswer, HttpRequest

ACCOUNT: Final = "123456789012"
_MODES: Final = {"GOVERNANCE", "COMPLIANCE"}
_LARGEST_XML_BYTES: Final = 4_096
_SUSPENDED: Final = re.compile(rb"<Status>\s*Suspended\s*</Status>")


def refusal(request: HttpRequest) -> HttpAnswer | None:
    """What S3 would answer instead of doing what moto would do, or None when moto may have the request.

    Sources: S3 User Guide, "How S3 Object Lock works"; API reference, PutObjectRetention and PutBucketVersioning.
    """
    name, _, key = unquote(request.raw_path.lstrip("/")).partition("/")
    bucket = s3_backends[ACCOUNT]["aws"].buckets.get(name)
    if bucket is None:
        return None
    query = parse_qs(request.query, keep_blank_values=True)
    locked = bool(bucket.object_lock_enabled)
    if locked and request.method == "PUT" and not key and "versioning" in query and _SUSPENDED.search(request.body):
        text = "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed."
        return _error(409, "InvalidBucketState", text)
    version = _version(bucket, key, query.get("versionId", [None])[0]) if key and "retention" in query else None
    if version is not None and request.method == "GET":
        return _tell_retention(bucket, version)
    if version is not None and request.method == "PUT" and locked:
        return _check_retention(request, version)
    return None


def _version(bucket: FakeBucket, key: str, version_id: str | None) -> FakeKey | None:
    for version in reversed(bucket.keys.getlist(key, []) or []):
        if version_id is None or version.version_id == version_id:
            return version if isinstance(version, FakeKey) else None
    return None


def _check_retention(request: HttpRequest, version: FakeKey) -> HttpAnswer | None:
    wanted = _read_retention(request.body)
    if wanted is None:
        return _error(400, "MalformedXML", "The XML you provided was not well-formed or did not validate.")
    mode, until = wanted
    now = utcnow().replace(tzinfo=UTC)
    if mode and until is not None and until <= now:
        return _error(400, "InvalidArgument", "The retain until date must be in the future!")
    held_mode, held_until = version.lock_mode, read_time(version.lock_until)
    if held_mode not in _MODES or held_until is None or held_until <= now:
        return None
    weaker = mode != held_mode or until is None or until < held_until
    if held_mode == "COMPLIANCE":
        allowed = not weaker
    else:
        bypassed = request.named.get("x-amz-bypass-governance-retention", "").lower() == "true"
        stricter = until is not None and until >= held_until and mode in _MODES
        allowed = stricter or bypassed
    return None if allowed else _error(403, "AccessDenied", "Access Denied because object protected by object lock.")


def _read_retention(body: bytes) -> tuple[str, datetime | None] | None:
    if len(body) > _LARGEST_XML_BYTES or b"<!" in body:
        return None
    try:
        root = fromstring(body.decode()) if body else Element("Retention")  # noqa: S314 - no DTD can be in it, see above
    except (ParseError, UnicodeDecodeError):
        return None
    found = {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in root}
    if not found:
        return "", None
    until = read_time(found.get("RetainUntilDate"))
    return (found["Mode"], until) if found.get("Mode") in _MODES and until is not None else None


def _tell_retention(bucket: FakeBucket, version: FakeKey) -> HttpAnswer:
    if not bucket.object_lock_enabled:
        return _error(400, "InvalidRequest", "Bucket is missing Object Lock Configuration")
    if not version.lock_mode or not version.lock_until:
        return _error(404, "NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration")
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><Retention xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Mode>{escape(version.lock_mode)}</Mode><RetainUntilDate>{escape(version.lock_until)}</RetainUntilDate></Retention>"
    )
    return HttpAnswer(200, [("Content-Type", "application/xml")], text.encode())


def read_time(text: Any) -> datetime | None:
    """An ISO 8601 time as S3 writes it, or None."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _error(status: int, code: str, message: str) -> HttpAnswer:
    text = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>'
    return HttpAnswer(status, [("Content-Type", "application/xml")], text.encode())
