"""Double entry: what was cleared, settled, loaded and charged."""
