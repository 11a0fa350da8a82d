"""Hypothesis without a deadline: on a busy machine one slow example is no finding."""

from hypothesis import settings

settings.register_profile("house", deadline=None)
settings.load_profile("house")
