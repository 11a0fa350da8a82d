"""What cards belong to: BIN range, network, currency, default limits."""
