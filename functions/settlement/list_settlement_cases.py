"""GET /admin/settlement/cases"""

from cardwright.http.paging import CursorText, Limit, Page
from cardwright.settlement.rules import CaseKind, CaseState
from functions.door import ApiCall, Reply, door
from functions.settlement import routes
from functions.settlement.shapes import SettlementCaseResponse

endpoint = door(routes.LIST_SETTLEMENT_CASES)


@endpoint.operation(response=Page[SettlementCaseResponse], errors={400: ["cursor_invalid"]})
def list_settlement_cases(
    call: ApiCall,
    kind: CaseKind | None = None,
    state: CaseState = CaseState.OPEN,
    limit: Limit = 50,
    cursor: CursorText = None,
) -> Reply:
    """Cases of a state, newest first."""
    list_name = f"settlement cases {kind} {state}"
    after = call.after(list_name, cursor)
    cases = call.api.settlement_desk.list_cases(call.actor, kind=kind, state=state, limit=limit + 1, after=after)
    shown, pagination = call.page(cases, limit, lambda case: case.case_id, list_name)
    data = [SettlementCaseResponse.of(case) for case in shown]
    return Reply(Page[SettlementCaseResponse](data=data, pagination=pagination))


handler = endpoint.handler
