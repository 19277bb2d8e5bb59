"""Pretraining, one class a file: photos to a backbone that goes on from the suite's.

Suites name them by their files; a plug-in may build on any of them.
"""
