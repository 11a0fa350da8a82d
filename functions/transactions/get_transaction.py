"""GET /transactions/{transaction_id}"""

from uuid import UUID

from functions.door import ApiCall, Reply, door
from functions.transactions import routes
from functions.transactions.shapes import TransactionStoryResponse

endpoint = door(routes.GET_TRANSACTION)


@endpoint.operation(response=TransactionStoryResponse, errors={404: ["transaction_not_found"]})
def get_transaction(transaction_id: UUID, call: ApiCall) -> Reply:
    """One transaction of the caller's cards, or of anybody's to staff, with its timeline and the reason in plain words."""
    return Reply(TransactionStoryResponse.telling(call.api.transactions.get_transaction(call.actor, transaction_id)))


handler = endpoint.handler
