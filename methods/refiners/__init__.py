"""Refiners, one class a file: localization maps to maps that follow the photo better.

Suites name them by their files; a plug-in may build on any of them.
"""
