"""GET /admin/settlement/runs"""

from cardwright.http.paging import CursorText, Limit, Page
from functions.door import ApiCall, Reply, door
from functions.settlement import routes
from functions.settlement.shapes import SettlementRunResponse

endpoint = door(routes.LIST_SETTLEMENT_RUNS)


@endpoint.operation(response=Page[SettlementRunResponse], errors={400: ["cursor_invalid"]})
def list_settlement_runs(call: ApiCall, limit: Limit = 50, cursor: CursorText = None) -> Reply:
    """Runs of the comparison with the processor, newest first."""
    list_name = "settlement runs"
    after = call.after(list_name, cursor)
    runs = call.api.settlement_desk.list_runs(call.actor, limit=limit + 1, after=after)
    shown, pagination = call.page(runs, limit, lambda run: run.run_id, list_name)
    return Reply(Page[SettlementRunResponse](data=[SettlementRunResponse.of(run) for run in shown], pagination=pagination))


handler = endpoint.handler
