"""Rows of the authorization doors."""

from cardwright.kernel.rows import Capability, Url

AUTHORIZE_TRANSACTION = Url(
    name="authorize_transaction",
    domain="authorizations",
    path="/webhooks/authorize-transaction",
    needs=frozenset({Capability.DATABASE_APP, Capability.CACHE, Capability.PROCESSOR_INBOUND}),
    # Above the sum of its own deadlines: the answer is its own, never the platform's.
    timeout_s=10,
    memory_mb=1769,
    provisioned_concurrency=2,
    reserved_concurrency=50,
    summary="Decide an authorization the card network asks for.",
)

ROWS = (AUTHORIZE_TRANSACTION,)
