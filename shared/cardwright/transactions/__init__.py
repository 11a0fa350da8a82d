"""What cards were used for, as it was decided."""
