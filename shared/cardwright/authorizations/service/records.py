"""What a transaction row keeps of a request: all of it, so that the request can be read back and its digest made again."""

import hashlib
from decimal import Decimal

from cardwright.authorizations.rules import AuthorizationRequest, Merchant
from cardwright.kernel.jsontext import quote
from cardwright.platform.postgres import Row


def write_detail(request: AuthorizationRequest) -> str:
    """JSON of all that the request says beyond the row's own columns."""
    merchant = request.merchant
    # Written out: an encoder for it would cost more than all of it.
    parts = [
        f'{{"merchant":{{"id":{_text(merchant.id)},"name":{_text(merchant.name)},"category_code":"{merchant.category_code}",'
        f'"city":{_text(merchant.city)},"country":{_text(merchant.country)},"latitude":{_number(merchant.latitude)},'
        f'"longitude":{_number(merchant.longitude)}}},"channel":{_text(request.channel)},'
        f'"occurred_at":{_text(request.occurred_at)}'
    ]
    # Only where they are told: most requests do without, and every octet is written and hashed.
    if request.merchant_amount is not None:
        parts.append(f',"merchant_amount":"{request.merchant_amount}"')
    if request.merchant_currency is not None:
        parts.append(f',"merchant_currency":{quote(request.merchant_currency)}')
    if request.partial_approval:
        parts.append(',"partial_approval":true')
    if request.device_id is not None:
        parts.append(f',"device_id":{quote(request.device_id)}')
    if request.ip is not None:
        parts.append(f',"ip":{quote(request.ip)}')
    return "".join(parts) + "}"


def _text(value: str | None) -> str:
    return "null" if value is None else quote(value)


def _number(value: Decimal | None) -> str:
    return "null" if value is None else f'"{value}"'


def request_digest(request: AuthorizationRequest, detail: str) -> bytes:
    """SHA-256 over what the request says, `detail` being its `write_detail`.

    Spacing, field order and unknown fields do not count; neither does the authorization id, which names what is compared.
    """
    told = (request.card_token, request.type, request.original_authorization_id or "", f"{request.amount:.2f}", request.currency)
    # No line break is in any of them, nor in JSON without spaces: the parts can be told from each other.
    return hashlib.sha256("\n".join((*told, detail)).encode()).digest()


def read_request(row: Row, card_token: str) -> AuthorizationRequest:
    """The request of a transaction row. Raises LookupError or ArithmeticError for a detail that no request has."""
    detail = row["detail"]
    merchant = detail["merchant"]
    return AuthorizationRequest(
        authorization_id=row["authorization_id"],
        card_token=card_token,
        type=row["type"],
        amount=row["amount"],
        currency=row["currency"],
        merchant=Merchant(
            row["merchant_category"],
            merchant["id"],
            merchant["name"],
            merchant["city"],
            merchant["country"],
            _decimal(merchant["latitude"]),
            _decimal(merchant["longitude"]),
        ),
        channel=detail["channel"],
        original_authorization_id=row["original_authorization_id"],
        merchant_amount=_decimal(detail.get("merchant_amount")),
        merchant_currency=detail.get("merchant_currency"),
        partial_approval=detail.get("partial_approval", False),
        device_id=detail.get("device_id"),
        ip=detail.get("ip"),
        occurred_at=detail["occurred_at"],
    )


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
