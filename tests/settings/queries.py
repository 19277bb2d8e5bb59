"""Web queries as hypothesis draws them: probabilities, one query class a photo (or none), and another order."""

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

STEPS = st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.75, 0.9, 1.0])
"""Few values, so that ties happen."""


class Queries(NamedTuple):
    probabilities_NK: np.ndarray
    labels_NK: np.ndarray
    order: np.ndarray


@st.composite
def _queries(draw: st.DrawFn) -> Queries:
    photos, classes = draw(st.integers(0, 24)), draw(st.integers(1, 4))
    elements = STEPS if draw(st.booleans()) else st.floats(0, 1, width=32)
    probabilities_NK = draw(arrays(np.float32, (photos, classes), elements=elements))
    query_N = draw(arrays(np.int64, photos, elements=st.integers(0, classes)))
    labels_NK = np.eye(classes + 1, dtype=np.float32)[query_N][:, :classes]
    order = np.array(draw(st.permutations(range(photos))), int)
    return Queries(probabilities_NK, labels_NK, order)


QUERIES = _queries()
