"""Sheets of pictures that commands ask for; no stage is run for them."""
