"""Labelers, one class a file: localization maps to pseudo labels.

Suites name them by their files; a plug-in may build on any of them.
"""
