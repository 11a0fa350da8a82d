"""POST /admin/settlement/cases/{case_id}/close"""

from uuid import UUID

from functions.door import ApiCall, Reply, door
from functions.settlement import routes
from functions.settlement.shapes import CaseCloseRequest, SettlementCaseResponse

endpoint = door(routes.CLOSE_SETTLEMENT_CASE)


@endpoint.operation(
    response=SettlementCaseResponse,
    errors={404: ["case_not_found"], 409: ["case_already_closed"], 422: ["card_number_not_allowed"]},
)
def close_settlement_case(case_id: UUID, body: CaseCloseRequest, call: ApiCall) -> Reply:
    """Close an open case. Found again with the same amounts it stays closed; with others it is open again."""
    case = call.api.settlement_desk.close_case(call.actor, case_id, body.note, operation_id=call.operation_id)
    return Reply(SettlementCaseResponse.of(case))


handler = endpoint.handler
