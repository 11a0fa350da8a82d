"""GET /admin/programs"""

from cardwright.http.paging import CursorText, Limit, Page
from functions.door import ApiCall, Reply, door
from functions.programs import routes
from functions.programs.shapes import ProgramResponse

endpoint = door(routes.LIST_PROGRAMS)


@endpoint.operation(response=Page[ProgramResponse], errors={400: ["cursor_invalid"]})
def list_programs(call: ApiCall, limit: Limit = 50, cursor: CursorText = None) -> Reply:
    """Programs, newest first, retired ones too."""
    after = call.after("programs", cursor)
    found = call.api.program_administration.list_programs(call.actor, limit + 1, after)
    shown, pagination = call.page(found, limit, lambda one: one.program_id, "programs")
    data = [ProgramResponse.of(program) for program in shown]
    return Reply(Page[ProgramResponse](data=data, pagination=pagination))


handler = endpoint.handler
