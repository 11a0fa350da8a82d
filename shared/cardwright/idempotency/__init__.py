"""The same key twice has one effect and one answer."""
