"""The page: what a leaderboard's folder says, as one HTML file that needs no network and no other file."""

from results.page.content import Picture, Shown
from results.page.render import render

__all__ = ["Picture", "Shown", "render"]
