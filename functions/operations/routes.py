"""Rows of the operations doors: health, documents, migrations, dead letters."""

from cardwright.kernel.rows import Audience, Capability, Http, RateClass, Task

HEALTHZ = Http(
    name="healthz",
    domain="operations",
    method="GET",
    path="/healthz",
    root=True,
    audience=Audience.PUBLIC,
    rate=RateClass.NONE,
    summary="Alive.",
    tags=("operations",),
)
READYZ = Http(
    name="readyz",
    domain="operations",
    method="GET",
    path="/readyz",
    root=True,
    audience=Audience.PUBLIC,
    rate=RateClass.NONE,
    needs=frozenset({Capability.DATABASE_APP, Capability.CACHE, Capability.SIGNING_PUBLIC_KEY}),
    summary="Whether each dependency answers.",
    tags=("operations",),
)
METRICS = Http(
    name="metrics",
    domain="operations",
    method="GET",
    path="/metrics",
    root=True,
    audience=Audience.PUBLIC,
    rate=RateClass.NONE,
    local_only=True,
    needs=frozenset({Capability.DATABASE_WORKER}),
    summary="Gauges in the Prometheus text format; local stage only.",
    tags=("operations",),
)
GET_OPENAPI = Http(
    name="get_openapi",
    domain="operations",
    method="GET",
    path="/openapi.json",
    audience=Audience.PUBLIC,
    rate=RateClass.NONE,
    summary="This API as OpenAPI 3.1.",
    tags=("operations",),
)
GET_OPENAPI_3_0 = Http(
    name="get_openapi_3_0",
    domain="operations",
    method="GET",
    path="/openapi-3.0.json",
    audience=Audience.PUBLIC,
    rate=RateClass.NONE,
    summary="This API as OpenAPI 3.0.",
    tags=("operations",),
)
GET_DOCS = Http(
    name="get_docs",
    domain="operations",
    method="GET",
    path="/docs",
    root=True,
    audience=Audience.PUBLIC,
    rate=RateClass.NONE,
    summary="The reference as a page.",
    tags=("operations",),
)
MIGRATE_DATABASE = Task(
    name="migrate_database",
    domain="operations",
    needs=frozenset({Capability.DATABASE_MIGRATOR}),
    timeout_s=900,
    summary="Apply database migrations; run by the deployment.",
)
REDRIVE_DEAD_LETTERS = Task(
    name="redrive_dead_letters",
    domain="operations",
    needs=frozenset({Capability.DEAD_LETTERS}),
    timeout_s=300,
    memory_mb=256,
    summary="Give a queue's dead letters back to it; run by an operator.",
)

ROWS = (HEALTHZ, READYZ, METRICS, GET_OPENAPI, GET_OPENAPI_3_0, GET_DOCS, MIGRATE_DATABASE, REDRIVE_DEAD_LETTERS)
