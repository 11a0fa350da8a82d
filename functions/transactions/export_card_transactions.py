"""GET /cards/{card_id}/transactions/export"""

from enum import StrEnum
from uuid import UUID

from starlette.responses import Response

from cardwright.transactions.service.exports import ExportedFile
from functions.door import ApiCall, Reply, door
from functions.transactions import routes
from functions.transactions.shapes import Filters, TransactionExportResponse

endpoint = door(routes.EXPORT_CARD_TRANSACTIONS)


class Format(StrEnum):
    """What a file can be."""

    CSV = "csv"


@endpoint.operation(
    response=TransactionExportResponse,
    status=202,
    media_type="text/csv",
    errors={404: ["card_not_found"], 409: ["too_many_exports"], 422: ["time_invalid", "range_invalid"]},
)
def export_card_transactions(card_id: UUID, call: ApiCall, filters: Filters, format: Format = Format.CSV) -> Reply | Response:
    """The card's transactions as CSV, newest first, declines included; staff exports any card's.

    Up to 5 MB are the answer itself (200). What is longer becomes a job (202): ask for it at `Location` until it is DONE. Asking
    again while it is open tells of the same job; at most five are open at a time.
    """
    export = call.api.transaction_exports.export(call.actor, card_id, filters)
    if isinstance(export, ExportedFile):
        headers = {"Content-Disposition": f'attachment; filename="{export.filename}"'}
        return Response(export.text, headers=headers, media_type=f"text/{format.value}; charset=utf-8")
    place = f"{routes.EXPORT_CARD_TRANSACTIONS.full_path}/{export.job_id}".replace("{card_id}", str(card_id))
    return Reply(TransactionExportResponse.of(export), headers={"Location": place})


handler = endpoint.handler
