"""PATCH /admin/programs/{program_id}"""

from uuid import UUID

from functions.door import ApiCall, Reply, door
from functions.programs import routes
from functions.programs.shapes import ProgramChangeRequest, ProgramResponse

endpoint = door(routes.UPDATE_PROGRAM)


@endpoint.operation(
    response=ProgramResponse,
    errors={
        400: ["if_match_invalid"],
        404: ["program_not_found"],
        409: ["program_is_default", "program_retired", "program_unchanged"],
        412: ["version_mismatch"],
        422: [
            "amount_invalid",
            "amount_not_whole",
            "limit_out_of_range",
            "limit_order",
            "out_of_range",
            "card_number_not_allowed",
        ],
    },
)
def update_program(program_id: UUID, body: ProgramChangeRequest, call: ApiCall) -> Reply:
    """Change what cards issued from now on have, the currency's default, or whether the program issues cards at all."""
    program = call.api.program_administration.update_program(
        call.actor, program_id, body.changes(), operation_id=call.operation_id, if_match=call.if_match
    )
    return Reply(ProgramResponse.of(program), etag=program.version)


handler = endpoint.handler
