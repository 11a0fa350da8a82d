"""Field types of requests and responses: amounts, currencies, merchant category codes, times."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

from cardwright.kernel.clock import rfc3339
from cardwright.kernel.money import check_currency, parse_amount


class StrictModel(BaseModel):
    """A document whose unknown fields are refused and whose values are not coerced from other JSON types."""

    model_config = ConfigDict(extra="forbid", frozen=True)


_AMOUNT_SCHEMA = {"type": "string", "pattern": r"^(0|[1-9][0-9]{0,9})(\.[0-9]{1,2})?$", "examples": ["12.34"]}
# Decimal with two decimals inside, a decimal string outside; JSON numbers are read from their text.
Amount = Annotated[
    Decimal,
    BeforeValidator(parse_amount),
    PlainSerializer(lambda value: f"{value:.2f}", return_type=str),
    WithJsonSchema(_AMOUNT_SCHEMA),
]
Currency = Annotated[
    str,
    StringConstraints(min_length=3, max_length=3),
    AfterValidator(check_currency),
    WithJsonSchema({"type": "string", "pattern": "^[A-Z]{3}$", "examples": ["USD"], "description": "ISO 4217"}),
]
# ISO 18245: four digits.
Mcc = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}$")]
Timestamp = Annotated[
    datetime,
    PlainSerializer(rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-21T10:00:00.000Z"]}),
]
