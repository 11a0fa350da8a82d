"""GET /admin/programs/{program_id}"""

from uuid import UUID

from functions.door import ApiCall, Reply, door
from functions.programs import routes
from functions.programs.shapes import ProgramResponse

endpoint = door(routes.GET_PROGRAM)


@endpoint.operation(response=ProgramResponse, errors={404: ["program_not_found"]})
def get_program(program_id: UUID, call: ApiCall) -> Reply:
    """One program."""
    program = call.api.program_administration.get_program(call.actor, program_id)
    return Reply(ProgramResponse.of(program), etag=program.version)


handler = endpoint.handler
