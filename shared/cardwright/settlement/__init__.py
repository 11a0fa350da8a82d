"""Settlement: what the processor says was spent and moved, compared with what we know."""
