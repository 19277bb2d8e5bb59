"""Cues, one class a file: where photos show objects at all (saliency), for the labelers that ask for it.

Suites name them by their files; a plug-in may build on any of them.
"""
