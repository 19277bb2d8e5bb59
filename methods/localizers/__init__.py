"""Localizers, one class a file: photos with image-level labels to localization maps.

Suites name them by their files; a plug-in may build on any of them.
"""
