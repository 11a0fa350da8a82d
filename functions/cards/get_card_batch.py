"""GET /cards/batch/{job_id}"""

from uuid import UUID

from functions.cards import routes
from functions.cards.shapes import CardBatchResponse
from functions.door import ApiCall, Reply, door

endpoint = door(routes.GET_CARD_BATCH)


@endpoint.operation(response=CardBatchResponse, errors={404: ["card_batch_not_found"]})
def get_card_batch(job_id: UUID, call: ApiCall) -> Reply:
    """One of the caller's batches with every item, also while it is running; staff sees any."""
    batch, outcomes = call.api.cards.get_batch(call.actor, job_id)
    return Reply(CardBatchResponse.of(batch, outcomes))


handler = endpoint.handler
