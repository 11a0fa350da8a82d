"""The main job of the platform played over HTTP, step by step: `python -m local.demo`, and the same story as a test."""
