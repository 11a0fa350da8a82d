"""Rows of the vault doors."""

from cardwright.kernel.rows import Capability, Schedule

REENCRYPT_CARD_NUMBERS = Schedule(
    name="reencrypt_card_numbers",
    domain="vault",
    every_s=3600,
    needs=frozenset({Capability.DATABASE_WORKER, Capability.VAULT_KEY, Capability.VAULT_DECRYPT}),
    # Some ten thousand cards a run; what is left waits for the next.
    timeout_s=600,
    memory_mb=1024,
    summary="Encrypt card numbers anew that are not under the current key.",
)

ROWS = (REENCRYPT_CARD_NUMBERS,)
