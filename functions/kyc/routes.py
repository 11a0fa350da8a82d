"""Rows of the KYC doors."""

from cardwright.kernel.rows import SIGNED_IN, Audience, Capability, Http, Idempotency, RateClass, Role

SUBMIT_KYC = Http(
    name="submit_kyc",
    domain="kyc",
    method="POST",
    path="/kyc/submissions",
    roles=frozenset({Role.CARDHOLDER}),
    idempotency=Idempotency.HONOURED,
    needs=SIGNED_IN | {Capability.KYC},
    summary="Submit identity details to the KYC provider.",
    tags=("kyc",),
)
GET_KYC_STATUS = Http(
    name="get_kyc_status",
    domain="kyc",
    method="GET",
    path="/kyc/status",
    needs=SIGNED_IN,
    summary="The caller's KYC status.",
    tags=("kyc",),
)
RECEIVE_KYC_EVENT = Http(
    name="receive_kyc_event",
    domain="kyc",
    method="POST",
    path="/webhooks/kyc",
    audience=Audience.SIGNED,
    rate=RateClass.NONE,
    needs=frozenset({Capability.DATABASE_WORKER, Capability.KYC_INBOUND}),
    summary="Receive a signed outcome from the KYC provider.",
    tags=("kyc",),
)

ROWS = (SUBMIT_KYC, GET_KYC_STATUS, RECEIVE_KYC_EVENT)
