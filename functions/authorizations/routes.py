"""Rows of the authorization doors."""

from cardwright.kernel.rows import Capability, Schedule, Url

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
RECONCILE_AUTHORIZATIONS = Schedule(
    name="reconcile_authorizations",
    domain="authorizations",
    every_s=60,
    # The processor's secret opens what the engine left in the cache.
    needs=frozenset({Capability.DATABASE_WORKER, Capability.CACHE, Capability.PROCESSOR_INBOUND}),
    timeout_s=60,
    summary="Give back holds recorded as approved while the network was told that we are unavailable.",
)

ROWS = (AUTHORIZE_TRANSACTION, RECONCILE_AUTHORIZATIONS)
