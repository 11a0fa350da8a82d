"""Field types of requests and responses: free text, amounts, currencies, merchant category codes, times."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from cardwright.kernel.clock import rfc3339
from cardwright.kernel.errors import FieldValueError
from cardwright.kernel.money import check_currency, parse_amount
from cardwright.kernel.secret import Secret, holds_card_number


@dataclass(frozen=True, slots=True)
class SecretText:
    """Makes `Annotated[Secret[str], SecretText(...)]` a string of a request that is printed nowhere."""

    min_length: int
    max_length: int
    pattern: str | None = None

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A string within the limits, wrapped in Secret."""
        text = core_schema.str_schema(min_length=self.min_length, max_length=self.max_length, pattern=self.pattern, strict=True)
        return core_schema.no_info_after_validator_function(Secret, text)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The string's schema, marked as one to hide."""
        return {**handler(schema), "format": "password", "writeOnly": True}


class StrictModel(BaseModel):
    """A document whose unknown fields are refused and whose values are not coerced from other JSON types."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def without_card_number(text: str) -> str:
    """Return the text when nothing in it may be a card number. Raises FieldValueError card_number_not_allowed."""
    if holds_card_number(text):
        raise FieldValueError("card_number_not_allowed", "A card number must not be written here.")
    return text


# Words of a person's own, kept and shown: one line, no card number (PCI DSS 3.4.1).
FreeText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$"),
    AfterValidator(without_card_number),
]
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
