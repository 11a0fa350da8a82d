"""What a transaction row keeps of a request: all of it, so that the request can be read back and its digest made again."""

import hashlib
import json
from decimal import Decimal

from cardwright.authorizations.rules import AuthorizationRequest, Merchant
from cardwright.platform.postgres import Row

# Built once: json.dumps with options builds an encoder for every call.
_JSON = json.JSONEncoder(separators=(",", ":"))


def write_detail(request: AuthorizationRequest) -> str:
    """JSON of all that the request says beyond the row's own columns."""
    merchant = request.merchant
    told: dict[str, object] = {
        "merchant": {
            "id": merchant.id,
            "name": merchant.name,
            "category_code": merchant.category_code,
            "city": merchant.city,
            "country": merchant.country,
            "latitude": None if merchant.latitude is None else str(merchant.latitude),
            "longitude": None if merchant.longitude is None else str(merchant.longitude),
        },
        "channel": request.channel,
        "occurred_at": request.occurred_at,
    }
    # Only where they are told: most requests do without, and every octet is written and hashed.
    if request.merchant_amount is not None:
        told["merchant_amount"] = str(request.merchant_amount)
    if request.merchant_currency is not None:
        told["merchant_currency"] = request.merchant_currency
    if request.partial_approval:
        told["partial_approval"] = True
    if request.device_id is not None:
        told["device_id"] = request.device_id
    if request.ip is not None:
        told["ip"] = request.ip
    return _JSON.encode(told)


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
