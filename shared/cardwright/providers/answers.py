"""How an HTTP answer of an outside party that did not do what was asked is to be read."""

# Not a refusal: slow down, come back, or our own key being rotated.
_LATER = frozenset({401, 403, 408, 425, 429})


def may_pass(status: int) -> bool:
    """True when the same request may succeed later, so that the party counts as unavailable and not as refusing."""
    return status in _LATER or status >= 500
