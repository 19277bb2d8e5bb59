"""The dense CRF: golden files where the package is installed, and what is said where it is not."""

import sys
from pathlib import Path

import numpy as np
import pytest

from methods.dense_crf import dense_crf, require_dense_crf
from settings.errors import UserError

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
NAMES = ("gaussian_sxy", "gaussian_compat", "bilateral_sxy", "bilateral_srgb", "bilateral_compat", "iterations")


@pytest.fixture
def _package() -> None:
    pytest.importorskip("pydensecrf", reason="pydensecrf2 is not installed (extra crf)")


@pytest.mark.usefixtures("_package")
@pytest.mark.parametrize("name", ["dense_crf", "dense_crf_soft"])
def test_probabilities_of_the_package(name: str) -> None:
    with np.load(GOLDEN / f"{name}.npz") as stored:
        numbers = {key: stored[key].item() for key in NAMES}
        refined = dense_crf(stored["image"], stored["probabilities"], **numbers)
        assert refined.dtype == np.float32
        assert np.abs(refined - stored["refined"]).max() <= 1e-4


@pytest.mark.usefixtures("_package")
def test_certain_pixels_stay_numbers() -> None:
    """Probabilities of exactly 0 and 1; on a flat photo a lone pixel joins what is around it."""
    probabilities = np.zeros((2, 12, 12), np.float32)
    probabilities[0] = 0.8
    probabilities[:, 6, 6] = 0.3, 0.7
    probabilities[1] = 1 - probabilities[0]
    probabilities[:, 0] = np.array([[1], [0]])
    refined = dense_crf(np.full((12, 12, 3), 90, np.uint8), probabilities, 3, 3, 10, 13, 4, 5)
    assert np.isfinite(refined).all()
    np.testing.assert_allclose(refined.sum(0), 1, atol=1e-5)
    assert not refined.argmax(0).any()


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    with pytest.raises(UserError, match=r"^label_refiner: .*pydensecrf2; pip install 'seedbed\[crf\]'"):
        require_dense_crf("label_refiner")
    with pytest.raises(UserError, match="pydensecrf2"):
        dense_crf(np.zeros((4, 4, 3), np.uint8), np.full((2, 4, 4), 0.5, np.float32), 3, 3, 10, 13, 4, 5)


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="for probabilities"):
        dense_crf(np.zeros((4, 5, 3), np.uint8), np.full((2, 4, 4), 0.5, np.float32), 3, 3, 10, 13, 4, 5)
