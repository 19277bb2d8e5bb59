"""Released programs, one a file: how our modules compute their outputs (`tests.golden.check`).

A file is named as its system is in the names of golden files, and its `SYSTEM` is a `System`.
"""
