"""Labelers: localization maps to pseudo labels; one class a file."""
