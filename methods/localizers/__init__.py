"""Localizers: photos with image-level labels to localization maps; one class a file."""
