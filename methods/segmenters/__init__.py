"""Segmenters, one class a file: pseudo labels to a segmentation network, which is run on photos without labels.

Suites name them by their files; a plug-in may build on any of them.
"""
