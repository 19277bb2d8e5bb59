"""`seedbed search`: which options of a recipe are best, without computing any stage twice.

The way of a search: `space` (which values there are) → `proposals` (which of them next) → `trials` (their stages, which
the one executor runs) → `search` (the loop: rungs, budget, records) → `winner` and `outputs`.
"""
