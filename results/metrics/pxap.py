"""Pixel average precision of maps (PxAP), which no threshold is chosen for (Choe et al., CVPR 2020).

Pixels of all photos are ranked by their winning score, class by class; AP_c = Σ precision × gain in recall, from the
highest threshold of the sweep down to the lowest, and its macro mean over the classes that the truth shows. What never
exceeds 0, or is won by another class, is never found: its recall is lost, so that PxAP is 1 for perfect maps alone.
"""

from collections.abc import Mapping

import numpy as np

from results.metric import Metric
from results.metrics.miou import Floats, defined_ratio, mean_of_defined
from results.metrics.sweep import Sweep

__all__ = ["PxAP", "pixel_average_precision"]


def pixel_average_precision(sweep: Sweep) -> Floats:
    """AP of each foreground class, (classes - 1,), 0..1; nan for a class that no pixel of the truth shows."""
    # From the most thresholds exceeded to one: scores of 0 are background at every threshold.
    found_TWk = sweep.histogram[:, 1:, :0:-1].cumsum(axis=2)
    hits_Kk = np.diagonal(found_TWk[1:]).T
    precision_Kk = defined_ratio(hits_Kk, found_TWk.sum(axis=0))
    gain_Kk = np.diff(hits_Kk, axis=1, prepend=0)
    # Where nothing is found yet there is no precision, and nothing gained.
    gained_K = np.where(gain_Kk > 0, precision_Kk * gain_Kk, 0).sum(axis=1)
    true_K = sweep.histogram[1:].sum(axis=(1, 2))
    ap_K: Floats = np.divide(gained_K, true_K, out=np.full(len(true_K), np.nan), where=true_K > 0)
    return ap_K


class PxAP(Metric[Sweep]):
    """Macro mean over foreground classes."""

    reads = "sweep"

    def measures(self, counted: Sweep) -> Mapping[str, float]:
        """The one number; nan where the truth shows no class."""
        return {"PxAP": float(mean_of_defined(pixel_average_precision(counted)))}
