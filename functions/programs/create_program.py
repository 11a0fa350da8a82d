"""POST /admin/programs"""

from functions.door import ApiCall, Reply, door
from functions.programs import routes
from functions.programs.shapes import ProgramCreateRequest, ProgramResponse

endpoint = door(routes.CREATE_PROGRAM)


@endpoint.operation(
    response=ProgramResponse,
    status=201,
    errors={
        422: [
            "bin_invalid",
            "bin_network_mismatch",
            "currency_unknown",
            "currency_unsupported",
            "amount_invalid",
            "amount_not_whole",
            "limit_out_of_range",
            "limit_order",
            "out_of_range",
            "card_number_not_allowed",
        ]
    },
)
def create_program(body: ProgramCreateRequest, call: ApiCall) -> Reply:
    """Add a program; cards are issued in it from now on."""
    program = call.api.program_administration.create_program(call.actor, body.wish(), call.operation_id)
    location = f"{routes.CREATE_PROGRAM.full_path}/{program.program_id}"
    return Reply(ProgramResponse.of(program), etag=program.version, headers={"Location": location})


handler = endpoint.handler
