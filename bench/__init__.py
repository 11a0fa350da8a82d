"""Measurements: each figure beside its peer or limit from the same run."""
