"""Card numbers at rest: encrypted under KMS, recognised by a keyed fingerprint."""
