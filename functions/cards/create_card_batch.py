"""POST /cards/batch"""

from functions.cards import routes
from functions.cards.shapes import CardBatchRequest, CardBatchResponse
from functions.door import ApiCall, Reply, door

endpoint = door(routes.CREATE_CARD_BATCH)


@endpoint.operation(
    response=CardBatchResponse,
    status=202,
    errors={403: ["kyc_required"], 422: ["too_few_items", "too_many_items", "duplicate_key"]},
)
def create_card_batch(body: CardBatchRequest, call: ApiCall) -> Reply:
    """Issue 1 to 1,000 cards to the caller as a job. Items succeed or fail one by one; ask the job what became of them.

    A batch counts against a quota of its own, 10 in an hour, and not against that of single cards.
    """
    batch = call.api.cards.create_batch(call.actor, body.wanted(), call.operation_id)
    return Reply(CardBatchResponse.of(batch), headers={"Location": f"{routes.CREATE_CARD_BATCH.full_path}/{batch.job_id}"})


handler = endpoint.handler
