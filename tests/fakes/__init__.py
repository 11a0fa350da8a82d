"""Small real stand-ins for what tests do not want to reach."""
