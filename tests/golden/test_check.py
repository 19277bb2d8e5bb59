"""Golden files by one command: every system agrees, and what does not is told and ends with an exit code."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.golden.check import BrokenFile, check, known_systems, main, system_of

GOLDEN = Path(__file__).resolve().parent
C2AM = GOLDEN / "neighbours_c2am_1.npz"


def files() -> list[str]:
    """The golden files of known systems."""
    elsewhere = ("c2am_inference", "irn_loss", "pamr", "seam_inference", "seam_losses", "seam_network")
    return [file.name for file in sorted(GOLDEN.glob("*.npz")) if file.stem not in elsewhere]


def changed(tmp_path: Path, **arrays: object) -> Path:
    """C²AM's first file with some arrays replaced, and those that are None left out."""
    with np.load(C2AM) as stored:
        kept = {name: stored[name] for name in stored.files if name not in arrays}
    target = tmp_path / C2AM.name
    np.savez(target, **kept, **{name: value for name, value in arrays.items() if value is not None})
    return target


@pytest.mark.parametrize("name", files())
def test_our_modules_agree_with_the_released_program(name: str) -> None:
    if name.startswith("dense_crf"):
        pytest.importorskip("pydensecrf", reason="pydensecrf2 is not installed (extra crf)")
    lines = check(GOLDEN / name)
    assert lines
    assert [line.text for line in lines if not line.agrees] == []


def test_every_system_has_a_file() -> None:
    assert {system_of(GOLDEN / name) for name in files()} == {system_of(Path(f"{s}_1.npz")) for s in known_systems()}


def test_the_longest_name_counts_whatever_follows(tmp_path: Path) -> None:
    assert system_of(Path("x/neighbours_c2am_17.npz")) is system_of(C2AM)
    assert system_of(Path("affinity_walk.npz")) is not system_of(Path("irn_walk_long.npz"))


def test_agreement_is_told_an_array_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(C2AM)]) == 0
    first, *lines, last = capsys.readouterr().out.splitlines()
    assert (first, last) == (str(C2AM), "all arrays agree")
    assert sum("agrees: worst difference" in line for line in lines) == 23
    assert sum("not compared: the form of the paper" in line for line in lines) == 4


def test_what_differs_is_told_with_how_much(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with np.load(C2AM) as stored:
        loss = stored["plain_loss"]
    file = changed(tmp_path, plain_loss=np.float32(loss * 1.01), head_border_says_inverted=np.uint8(1))
    assert main([str(C2AM), str(file)]) == 1
    out = capsys.readouterr().out
    assert "plain_loss: BEYOND: worst difference 0.0099 relative, allowed 2e-05" in out
    assert "head_border_says_inverted: BEYOND: worst difference 1 absolute, allowed 0" in out
    assert out.endswith("2 arrays beyond what is allowed\n")


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"more": np.zeros(3)}, "more: not compared: no module of ours computes it"),
        ({"plain_loss": None}, "plain_loss: found no such array; we compute one"),
        ({"plain_loss": np.zeros(2, np.float32)}, r"plain_loss: BEYOND: we compute (), the file has (2,)"),
        ({"plain_loss": np.float32("nan")}, "plain_loss: BEYOND: worst difference inf relative"),
    ],
)
def test_no_array_passes_unseen(
    arrays: dict[str, object], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(changed(tmp_path, **arrays))]) == 1
    assert told in capsys.readouterr().out


def test_a_broken_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, unknown, pickled = (tmp_path / f"{name}.npz" for name in ("c2am_3", "nothing_1", "c2am_4"))
    text.write_text("no archive")
    shutil.copy(C2AM, unknown)
    np.savez(pickled, alpha=np.array({}, dtype=object))
    without = changed(tmp_path, alpha=None)
    expected = {
        tmp_path / "c2am_9.npz": "found no such file",
        text: "found no readable .npz",
        pickled: "found no readable .npz",
        unknown: "found a name of no known system; expected <system>_….npz, one of affinity_walk, ",
        without: "found no array 'alpha'; expected all inputs of its system",
    }
    for file, told in expected.items():
        assert main([str(file)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"{file}: {told}")
    assert main([]) == 2
    assert main([str(unknown), str(C2AM)]) == 2
    assert "all arrays" not in capsys.readouterr().out


def test_arrays_that_do_not_fit_together_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(BrokenFile, match="its arrays do not fit together"):
        check(changed(tmp_path, head_weight=np.zeros((1, 5, 3, 3), np.float32)))
