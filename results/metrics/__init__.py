"""Metrics: pure functions and the counts they work on."""
