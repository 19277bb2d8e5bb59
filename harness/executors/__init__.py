"""Executors: one interface, one process or many."""
