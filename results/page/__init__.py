"""The page: what a leaderboard's folder says, as one HTML file that needs no network and no other file."""

from results.page.content import Picture, Shown
from results.page.counts import Counts, wanted_rows
from results.page.figures import Figure
from results.page.photos import PhotoScores, Tiles, scores_of
from results.page.render import render

__all__ = ["Counts", "Figure", "PhotoScores", "Picture", "Shown", "Tiles", "render", "scores_of", "wanted_rows"]
