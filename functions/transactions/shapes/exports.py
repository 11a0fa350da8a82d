"""Documents of exports."""

from typing import Self
from uuid import UUID

from pydantic import BaseModel, Field

from cardwright.http.fields import Timestamp
from cardwright.transactions.rules.exports import ExportStatus, TransactionExport
from cardwright.transactions.service.exports import ExportLink


class ExportProgressResponse(BaseModel):
    """How far an export is, in rows."""

    done: int = Field(description="Rows that are written.")
    total: int = Field(description="Rows to write, as far as they have been counted.")


class ExportResultResponse(BaseModel):
    """The file."""

    url: str = Field(description="Whoever has it downloads the file, without a token of ours.")
    expires_at: Timestamp = Field(description="Until then the link works; ask for the job again to get another.")
    rows: int = Field(description="Without the header.")
    bytes: int
    sha256: str = Field(description="Of the file, in hexadecimal.")


class ExportErrorResponse(BaseModel):
    """Why there is no file."""

    code: str


class TransactionExportResponse(BaseModel):
    """The job of an export."""

    id: UUID
    status: ExportStatus
    progress: ExportProgressResponse
    created_at: Timestamp
    finished_at: Timestamp | None
    result: ExportResultResponse | None = Field(default=None, exclude_if=lambda result: result is None)
    error: ExportErrorResponse | None = Field(
        default=None, exclude_if=lambda error: error is None, description="When it FAILED: ask for a new export."
    )

    @classmethod
    def of(cls, job: TransactionExport, link: ExportLink | None = None) -> Self:
        """The job, with its file where there is a link to it."""
        result = None
        if link is not None and job.size is not None and job.sha256 is not None:
            result = ExportResultResponse(
                url=link.url, expires_at=link.expires_at, rows=job.done, bytes=job.size, sha256=job.sha256.hex()
            )
        return cls(
            id=job.job_id,
            status=job.status,
            progress=ExportProgressResponse(done=job.done, total=job.total),
            created_at=job.created_at,
            finished_at=job.finished_at,
            result=result,
            error=None if job.failure is None else ExportErrorResponse(code=job.failure),
        )
