"""Composition roots: the environment read once, capabilities checked, parts built when first asked for."""
