"""Quotas counted exactly in a sliding window."""
