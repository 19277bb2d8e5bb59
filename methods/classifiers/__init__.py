"""Classifiers: how likely each extra photo shows each class, for web filters; one class a file."""
