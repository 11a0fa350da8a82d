"""Who did what, when and why: append-only entries in one hash chain per subject."""
