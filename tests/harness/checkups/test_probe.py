"""What a process tells of itself: the tests' own process is the node."""

import platform
import shutil
import subprocess
import sys
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import pytest

from harness.checkups import _probe
from harness.checkups._files import roots
from harness.checkups._probe import Question, answer, sources
from harness.execution.meeting import meeting_in


def test_it_tells_what_is_here(tmp_path: Path) -> None:
    (tmp_path / "voc").mkdir()
    data = {"data voc12": str(tmp_path / "voc"), "data coco14": str(tmp_path / "coco")}
    meeting = meeting_in(str(tmp_path)).begin()
    told = answer(Question(("harness",), ("numpy", "no-such-package"), data, meeting), "n1")
    assert told.packages == {"numpy": version("numpy"), "no-such-package": ""}
    assert told.python == platform.python_version()
    assert told.data_troubles == {"data voc12": "", "data coco14": "is not a folder there"}
    assert (told.store_trouble, meeting.has_seen("n1")) == ("", True)
    assert told.temporary_total == shutil.disk_usage("/tmp").total
    assert told.store_free > 0 and told.memory_free > 0


def test_sources_change_with_each_module_and_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "sprout"
    (package / "leaderboards").mkdir(parents=True)
    (package / "__init__.py").write_bytes(b"")
    (package / "a.yaml").write_bytes(b"x: 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def naive(*files: tuple[str, bytes]) -> str:
        return sha256(b"".join(f"sprout/{n}\0".encode() + sha256(text).digest() for n, text in files)).hexdigest()

    assert sources(("sprout",)) == naive(("__init__.py", b""), ("a.yaml", b"x: 1\n"))
    (package / "leaderboards" / "made.yaml").write_bytes(b"what runs made is no source")
    (package / "notes.txt").write_bytes(b"nor is this")
    assert sources(("sprout",)) == naive(("__init__.py", b""), ("a.yaml", b"x: 1\n"))
    (package / "b.py").write_bytes(b"1")
    assert sources(("sprout",)) == naive(("__init__.py", b""), ("a.yaml", b"x: 1\n"), ("b.py", b"1"))
    assert sources(("no_such_package",)) == sha256().hexdigest()


@pytest.mark.parametrize(
    ("text", "gpus", "trouble"),
    [
        ("class cuda:\n    device_count = staticmethod(lambda: 3)\nprint('a banner')", 3, ""),
        ("raise ImportError('libcuda.so: no such file')", 0, "ImportError: libcuda.so: no such file"),
        ("import os; os._exit(7)", 0, "ended with 7"),
        ("import time; time.sleep(60)", 0, "no end after 0.5 s"),
    ],
)
def test_torch_is_asked_in_a_process_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, gpus: int, trouble: str
) -> None:
    (tmp_path / "torch.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(_probe, "TORCH_S", 0.5 if "sleep" in text else 25)
    assert _probe.torch_gpus() == (gpus, trouble)


def test_a_kernel_that_does_not_tell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_probe, "MEMINFO", tmp_path / "absent")
    assert _probe.memory_free() == -1
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    2048 kB\n")
    monkeypatch.setattr(_probe, "MEMINFO", tmp_path / "meminfo")
    assert _probe.memory_free() == 2048 * 1024


def test_a_node_needs_nothing_but_python_to_answer() -> None:
    code = (
        "import sys;"
        "import harness.checkups._probe;"
        "print(sorted({'ray', 'torch', 'numpy', 'pydantic', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_folders_of_the_configuration_are_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEEDBED_CONFIG", "c.yaml")
    monkeypatch.delenv("SEEDBED_REAL_DATA", raising=False)
    assert roots() == {}
    (tmp_path / "c.yaml").write_text("data: {voc12: photos}")
    monkeypatch.setenv("SEEDBED_REAL_DATA", "../real")
    assert roots() == {"data voc12": str(tmp_path / "photos"), "SEEDBED_REAL_DATA": str(tmp_path.parent / "real")}
    (tmp_path / "c.yaml").write_text("data: 3")
    assert list(roots()) == ["SEEDBED_REAL_DATA"]
