"""Classifiers, one class a file: how likely each extra photo shows each class, for the filters of web settings.

Suites name them by their files; a plug-in may build on any of them.
"""
