"""Localization maps that follow the photo better, one file a component."""
