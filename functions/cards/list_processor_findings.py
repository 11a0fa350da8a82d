"""GET /admin/processor-findings"""

from typing import Annotated

from fastapi import Query

from cardwright.cards.rules import FindingKind
from cardwright.http.paging import CursorText, Limit, Page
from functions.cards import routes
from functions.cards.shapes import ProcessorFindingResponse
from functions.door import ApiCall, Reply, door

endpoint = door(routes.LIST_PROCESSOR_FINDINGS)


@endpoint.operation(response=Page[ProcessorFindingResponse], errors={400: ["cursor_invalid"]})
def list_processor_findings(
    call: ApiCall,
    kind: FindingKind | None = None,
    is_open: Annotated[
        bool, Query(alias="open", description="Those that wait for somebody to look at them; `false`: those that are mended.")
    ] = True,
    limit: Limit = 50,
    cursor: CursorText = None,
) -> Reply:
    """What the comparison with the processor's cards found that was not as it must be, newest first."""
    list_name = f"processor findings {kind} {is_open}"
    after = call.after(list_name, cursor)
    findings = call.api.cards.list_processor_findings(call.actor, limit=limit + 1, after=after, kind=kind, is_open=is_open)
    shown, pagination = call.page(findings, limit, lambda finding: finding.finding_id, list_name)
    data = [ProcessorFindingResponse.of(finding) for finding in shown]
    return Reply(Page[ProcessorFindingResponse](data=data, pagination=pagination))


handler = endpoint.handler
