"""Leaderboards that rows are added to: those of several machines, and those of masks that anybody hands in."""
