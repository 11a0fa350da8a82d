"""Virtual cards: issuing, states, limits."""
