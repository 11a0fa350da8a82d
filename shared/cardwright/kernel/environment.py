"""Names of the environment variables each capability brings: infra sets them, the local host sets them, compose reads them."""

from cardwright.kernel.rows import Capability

STAGE = "CARDWRIGHT_STAGE"
PUBLIC_URL = "CARDWRIGHT_PUBLIC_URL"
CORS_ORIGINS = "CARDWRIGHT_CORS_ORIGINS"
RATE_LIMITS = "CARDWRIGHT_RATE_LIMITS"
CLOCK_FILE = "CARDWRIGHT_CLOCK_FILE"

# Set on every function. CLOCK_FILE exists on the local stage alone.
ALWAYS: tuple[str, ...] = (STAGE, PUBLIC_URL, CORS_ORIGINS, RATE_LIMITS)

# One line per capability; a secret's variable holds the secret's name in Secrets Manager, never the secret.
VARIABLES: dict[Capability, tuple[str, ...]] = {
    Capability.DATABASE_APP: ("CARDWRIGHT_DATABASE_APP",),
    Capability.DATABASE_WORKER: ("CARDWRIGHT_DATABASE_WORKER",),
    Capability.DATABASE_MIGRATOR: ("CARDWRIGHT_DATABASE_MIGRATOR",),
    Capability.CACHE: ("CARDWRIGHT_CACHE_URL",),
    Capability.VAULT_KEY: ("CARDWRIGHT_VAULT_KEY_ARNS",),
    Capability.VAULT_DECRYPT: ("CARDWRIGHT_VAULT_KEY_ARNS",),
    Capability.USER_KEY: ("CARDWRIGHT_USER_KEY_ARN",),
    Capability.SIGNING_KEY: ("CARDWRIGHT_SIGNING_KEY_ARNS",),
    Capability.SIGNING_PUBLIC_KEY: ("CARDWRIGHT_SIGNING_KEY_ARNS",),
    Capability.MAC_KEY: ("CARDWRIGHT_MAC_KEY_ARN",),
    Capability.SEALING_SECRET: ("CARDWRIGHT_SEALING_SECRET",),
    Capability.EVENT_QUEUE: ("CARDWRIGHT_EVENT_QUEUE_URL",),
    Capability.EXPORTS: ("CARDWRIGHT_EXPORTS_BUCKET",),
    Capability.EXPORT_LINKS: ("CARDWRIGHT_EXPORTS_BUCKET",),
    Capability.PROCESSOR: ("CARDWRIGHT_PROCESSOR", "CARDWRIGHT_PROCESSOR_URL", "CARDWRIGHT_PROCESSOR_API_SECRET"),
    Capability.PROCESSOR_INBOUND: ("CARDWRIGHT_PROCESSOR_INBOUND_SECRET",),
    Capability.KYC: ("CARDWRIGHT_KYC", "CARDWRIGHT_KYC_URL", "CARDWRIGHT_KYC_API_SECRET"),
    Capability.KYC_INBOUND: ("CARDWRIGHT_KYC_INBOUND_SECRET",),
    Capability.MESSAGES: ("CARDWRIGHT_MESSAGES", "CARDWRIGHT_MESSAGES_URL", "CARDWRIGHT_MESSAGES_API_SECRET"),
    Capability.INTERNET: (),
}
