"""The laptop host of the whole stack."""
