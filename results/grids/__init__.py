"""Grids: designs of factors and levels, their effects and shares of variance, as tables and figures."""

from results.grids.design import Design
from results.grids.grids import Grids, measured_grids
from results.grids.tables import ablation_table

__all__ = ["Design", "Grids", "ablation_table", "measured_grids"]
