"""The levers of the simulated world: its clock and the faults of its parties."""

from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, ValidationError

from local.clock import ClockError, ClockFile, parse_duration, rfc3339
from local.simulators.faults import FaultFile, Faults
from local.simulators.serving import unprocessable


class ClockStep(BaseModel):
    """How far to move the clock forward."""

    model_config = ConfigDict(extra="forbid", strict=True)

    advance: str


def clock_routes(clock: ClockFile) -> APIRouter:
    """GET and POST /clock."""
    router = APIRouter()

    def told() -> dict[str, Any]:
        ahead = timedelta(microseconds=clock.offset_us)
        return {"now": rfc3339(clock.now()), "ahead_seconds": ahead // timedelta(seconds=1)}

    @router.get("/clock")
    async def get_clock() -> dict[str, Any]:
        """What time it is, and how far that is ahead of the system's clock."""
        return told()

    @router.post("/clock")
    async def advance_clock(step: ClockStep) -> Response:
        """Move the clock of all parts forward."""
        try:
            clock.advance(parse_duration(step.advance))
        except ClockError as error:
            return unprocessable([{"loc": ("body", "advance"), "msg": str(error)}])
        return JSONResponse(told())

    return router


def fault_routes(file: FaultFile) -> APIRouter:
    """GET, PUT (all anew), POST (change some) and DELETE (none) /faults."""
    router = APIRouter()

    @router.get("/faults")
    async def get_faults() -> Faults:
        """The faults of every party."""
        return file.read()

    @router.put("/faults")
    async def replace_faults(faults: Faults) -> Faults:
        """Set all faults; what is left out is off."""
        return file.replace(faults)

    @router.post("/faults")
    async def change_faults(given: dict[str, Any]) -> Response:
        """Set the faults given, leave the others."""
        try:
            return JSONResponse(file.merge(given).model_dump())
        except ValidationError as error:
            return unprocessable(error.errors(include_input=False, include_url=False, include_context=False))

    @router.delete("/faults")
    async def clear_faults() -> Faults:
        """Every party behaves again."""
        return file.replace(Faults())

    return router
