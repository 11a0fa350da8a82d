"""Uploads of parts that are not there, in front of moto, which fails on them where S3 says so."""

from typing import Final
from urllib.parse import parse_qs, unquote

from moto.s3.models import s3_backends

from local.aws.asgi import HttpAnswer, HttpRequest

ACCOUNT: Final = "123456789012"
_GONE: Final = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>NoSuchUpload</Code><Message>The specified upload does not exist. '
    b"The upload ID may be invalid, or the upload may have been aborted or completed.</Message></Error>"
)


def refusal(request: HttpRequest) -> HttpAnswer | None:
    """S3's answer about an upload it does not know, after a restart of the emulator any; None when moto may have the request.

    Source: S3 API reference, UploadPart, CompleteMultipartUpload, AbortMultipartUpload and ListParts.
    """
    wanted = parse_qs(request.query).get("uploadId")
    name, _, key = unquote(request.raw_path.lstrip("/")).partition("/")
    bucket = s3_backends[ACCOUNT]["aws"].buckets.get(name)
    if not wanted or not key or bucket is None or wanted[0] in bucket.multiparts:
        return None
    return HttpAnswer(404, [("Content-Type", "application/xml")], _GONE)
