"""Grids: designs of factors and levels, their effects and shares of variance, as tables and figures."""

from results.grids.design import Design
from results.grids.grids import Grids, measured_grids

__all__ = ["Design", "Grids", "measured_grids"]
