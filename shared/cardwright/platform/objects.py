"""S3 as a port: objects written part by part, read in pieces, and handed out by links of limited life."""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from cardwright.kernel.errors import NotFoundError, UnavailableError
from cardwright.platform.aws import client

# What S3 takes: no part but the last may be smaller (S3 User Guide, "Amazon S3 multipart upload limits").
PART_MIN_BYTES = 5 * 1024 * 1024
_PIECE_BYTES = 1024 * 1024
# The upload is not there (any more), or not with these parts.
_LOST = frozenset({"NoSuchUpload", "InvalidPart", "InvalidPartOrder", "EntityTooSmall", "BadDigest"})
# Who may not list a bucket is refused an object that is not there.
_MISSING = frozenset({"NoSuchKey", "404", "403", "AccessDenied"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of an upload as S3 stored it; `checksum` is its SHA-256 in base64, `size` in bytes."""

    etag: str
    checksum: str
    size: int


class ObjectStore:
    """One bucket. Every method but `link` raises UnavailableError objects_unavailable when S3 does not do it now."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._client = client("s3")

    def begin_upload(self, key: str, content_type: str) -> str:
        """Begin an upload of parts and return its id. One that is never completed is removed by the bucket after a day."""
        with _answering():
            answer = self._client.create_multipart_upload(
                Bucket=self._bucket, Key=key, ContentType=content_type, ChecksumAlgorithm="SHA256"
            )
        return answer["UploadId"]

    def put_part(self, key: str, upload_id: str, number: int, body: bytes) -> Part | None:
        """Store part `number` (from 1), in place of an earlier one of that number; None when the upload is no more."""
        checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
        try:
            with _answering(_LOST):
                answer = self._client.upload_part(
                    Bucket=self._bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=body, ChecksumSHA256=checksum
                )
        except NotFoundError:
            return None
        return Part(etag=answer["ETag"], checksum=checksum, size=len(body))

    def complete(self, key: str, upload_id: str, parts: Sequence[Part]) -> bool:
        """Make the object of its parts, or find that it was made already; False when the upload is lost and must begin anew."""
        listed = [
            {"PartNumber": number, "ETag": part.etag, "ChecksumSHA256": part.checksum} for number, part in enumerate(parts, 1)
        ]
        try:
            with _answering(_LOST):
                self._client.complete_multipart_upload(
                    Bucket=self._bucket,
                    Key=key,
                    UploadId=upload_id,
                    MultipartUpload={"Parts": listed},  # type: ignore[typeddict-item]  # the stub wants TypedDicts by name
                )
        except NotFoundError:
            # Somebody completed it and died before telling; its key is of no other upload than this one's.
            return self.size(key) == sum(part.size for part in parts)
        return True

    def abort(self, key: str, upload_id: str) -> None:
        """Drop an upload with its parts, if it is there."""
        with suppress(NotFoundError), _answering(_LOST):
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)

    def size(self, key: str) -> int | None:
        """An object's size in bytes; None when there is none."""
        try:
            with _answering(_MISSING):
                return self._client.head_object(Bucket=self._bucket, Key=key)["ContentLength"]
        except NotFoundError:
            return None

    def read(self, key: str) -> Iterator[bytes]:
        """An object in pieces of at most 1 MiB."""
        with _answering():
            body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"]
            try:
                yield from body.iter_chunks(_PIECE_BYTES)
            finally:
                body.close()

    def link(self, key: str, filename: str, life: timedelta) -> str:
        """A URL under which whoever has it downloads the object as `filename`; asks nobody.

        It is signed in the function's own name: it ends with its life, or with the credentials it was signed with.
        """
        return self._client.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self._bucket,
                "Key": key,
                "ResponseContentDisposition": f'attachment; filename="{filename}"',
            },
            ExpiresIn=int(life.total_seconds()),
        )


@contextmanager
def _answering(absent: frozenset[str] = frozenset()) -> Iterator[None]:
    """Raise NotFoundError when S3 refuses with one of these codes, UnavailableError for whatever else goes wrong."""
    try:
        yield
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in absent:
            raise NotFoundError("It is not in the object store.") from error
        raise UnavailableError("The object store does not answer.", code="objects_unavailable") from error
    except (BotoCoreError, HTTPError) as error:
        raise UnavailableError("The object store does not answer.", code="objects_unavailable") from error
