"""What every test may ask for: the fixtures of the fix_*.py modules."""

pytest_plugins = ["tests.fix_servers"]
