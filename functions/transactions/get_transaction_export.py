"""GET /cards/{card_id}/transactions/export/{job_id}"""

from uuid import UUID

from functions.door import ApiCall, Reply, door
from functions.transactions import routes
from functions.transactions.shapes import TransactionExportResponse

endpoint = door(routes.GET_TRANSACTION_EXPORT)


@endpoint.operation(
    response=TransactionExportResponse,
    errors={404: ["card_not_found", "transaction_export_not_found"], 410: ["transaction_export_expired"]},
)
def get_transaction_export(card_id: UUID, job_id: UUID, call: ApiCall) -> Reply:
    """One of the caller's exports; staff sees any. A DONE one comes with a fresh link, which works for 15 minutes.

    The file is kept for seven days.
    """
    job, link = call.api.transaction_exports.get(call.actor, card_id, job_id)
    return Reply(TransactionExportResponse.of(job, link))


handler = endpoint.handler
