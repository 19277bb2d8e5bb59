"""The doctor: every finding is made to happen; nothing that is broken makes the doctor fail."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import typer

from harness.checkups import Finding, _files, _machine, _probe
from harness.checkups.doctor import diagnose, is_fit, to_text
from harness.commands.main import doctor
from harness.store.lease import this_process
from harness.store.store import Store


def only(check: Iterator[Finding]) -> Finding:
    (finding,) = check
    return finding


def states(check: Iterator[Finding]) -> dict[str, str]:
    return {finding.name: finding.state for finding in check}


def disk_of(free: int, total: int = 10**12) -> Callable[[object], Any]:
    return lambda _: shutil._ntuple_diskusage(total, total - free, free)  # type: ignore[attr-defined]


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Installed packages, as the test says; the requirements are three."""
    installed = {"torch": "2.10.1+cu128", "ray": "2.50.0", "timm": "1.0.15"}

    def version(name: str) -> str:
        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    needs = [
        "torch>=2.6",
        "ray[tune]>=2.50",
        "timm >= 1.0.15",
        'optuna>=4.0; extra == "search"',
        'x>=1; extra == "dev"',
    ]
    monkeypatch.setattr(_probe, "version", version)
    monkeypatch.setattr(_machine, "requires", lambda _: needs)
    return installed


def test_packages_that_are_right_are_one_line(versions: dict[str, str]) -> None:
    right, absent = _machine.packages()
    assert right == Finding("packages", "ok", "torch 2.10.1+cu128, ray 2.50.0, timm 1.0.15")
    assert (absent.state, absent.found) == ("ok", "absent: optuna")


@pytest.mark.parametrize(("name", "found"), [("torch", "2.5.9"), ("ray", "2.9"), ("timm", "1.0.9"), ("timm", "")])
def test_a_package_that_is_old_or_absent_is_an_error(versions: dict[str, str], name: str, found: str) -> None:
    versions.pop(name)
    if found:
        versions[name] = found
    error = next(finding for finding in _machine.packages() if finding.state == "error")
    assert error.name == name
    assert error.found.startswith(f"{found or 'absent'}, and ")
    assert f"pip install '{name}>=" in error.mend


def test_an_optional_package_that_is_old_is_an_error(versions: dict[str, str]) -> None:
    versions["optuna"] = "3.9"
    assert states(_machine.packages()) == {"optuna": "error", "packages": "ok"}


def test_seedbed_that_is_not_installed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    for name in ("metadata", "requires", "version"):
        monkeypatch.setattr(_machine, name, absent)
    assert only(_machine.python()).state == "error"
    assert only(_machine.packages()) == Finding("packages", "ok", "none")


def test_a_package_whose_import_ends_the_process_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "dies.py").write_text("import os; os.abort()")
    (tmp_path / "raises.py").write_text("raise ImportError('libcuda.so: no such file')")
    (tmp_path / "works.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(_machine, "IMPORTED", ("dies", "raises", "works"))
    dies, raises, works = _machine.imports()
    assert (dies.state, raises.state, works.state) == ("error", "error", "ok")
    assert raises.found == "ImportError: libcuda.so: no such file"


def test_files_that_hide_our_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "results").mkdir()
    assert only(_machine.shadows()).state == "ok", "a folder without __init__.py hides nothing"
    (tmp_path / "settings.py").touch()
    (tmp_path / "results" / "__init__.py").touch()
    assert [finding.found.split()[0] for finding in _machine.shadows()] == [
        str(tmp_path / "settings.py"),
        str(tmp_path / "results"),
    ]
    monkeypatch.chdir("/")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert {finding.state for finding in _machine.shadows()} == {"warning"}


@pytest.mark.parametrize(
    ("value", "state"), [("1", None), ("2", None), ("2,1", None), ("64", "warning"), ("0", "warning"), ("x", "warning")]
)
def test_numbers_of_threads(monkeypatch: pytest.MonkeyPatch, value: str, state: str | None) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(_machine, "CPU_MAX", Path("/nowhere"))
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert states(_machine.threads()).get("OMP_NUM_THREADS") == state


@pytest.mark.parametrize(("quota", "mend"), [("150000 100000", "run with --slots 1"), ("max 100000", ""), ("?", "")])
def test_a_container_that_may_use_fewer_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, mend: str
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(_machine, "CPU_MAX", tmp_path / "cpu.max")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert only(_machine.threads()).mend == mend


@pytest.mark.parametrize(("free", "state"), [(10**8, "error"), (4 * 10**9, "warning"), (6 * 10**10, "ok")])
def test_room_for_the_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, state: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", disk_of(free, total=10**11))
    store, temporary = _machine.disk(tmp_path / "not" / "yet")
    assert store.state == state
    assert f"at {tmp_path}" in store.found
    assert temporary.state == ("ok" if state == "ok" else "warning")


@pytest.mark.parametrize(("free", "state"), [(64 << 20, "warning"), (1 << 30, "ok")])
def test_room_for_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, state: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", disk_of(free))
    monkeypatch.setattr(_machine, "SHM", tmp_path)
    assert only(_machine.shared_memory()).state == state
    monkeypatch.setattr(_machine, "SHM", tmp_path / "absent")
    assert only(_machine.shared_memory()).state == "warning"


@pytest.mark.parametrize(
    ("cuda", "state"), [("cuda: Optional[str] = '12.8'", "ok"), ("cuda: Optional[str] = None", "error"), ("", "error")]
)
def test_a_gpu_needs_a_torch_that_is_built_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cuda: str, state: str
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").touch()
    (tmp_path / "torch" / "version.py").write_text(f"debug = False\n{cuda}\nhip = None\n")
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "information").write_text("Model: \t\t NVIDIA H200\nIRQ: 3\n")
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path / "torch")]})
    monkeypatch.setattr(_machine, "find_spec", lambda _: spec)
    monkeypatch.setattr(_machine, "GPUS", tmp_path)
    monkeypatch.setattr(_machine, "resolve_device", lambda _: "cuda")
    gpu = next(finding for finding in _machine.devices() if finding.name == "gpu")
    assert gpu.state == state
    assert gpu.found == ("NVIDIA H200; torch is built for CUDA 12.8" if state == "ok" else gpu.found)


def test_the_packaged_weights_are_whole() -> None:
    assert only(_files.weights()).state == "ok"


@pytest.mark.parametrize("damage", ["change", "remove", "package"])
def test_damaged_weights_are_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(b"weights" if damage != "change" else b"w3ights")
    hash_ = _files.FileHash(
        f"sha256={_files.urlsafe_b64encode(hashlib.sha256(b'weights').digest()).decode().rstrip('=')}"
    )
    file = type("File", (), {"suffix": ".pth", "hash": hash_, "locate": lambda _: path})()
    monkeypatch.setattr(
        _files, "distribution", lambda _: type("D", (), {"files": [file] if damage != "package" else []})
    )
    if damage == "change":
        assert only(_files.weights()).state == "error"
        path.write_bytes(b"weights")
        assert only(_files.weights()).state == "ok"
        return
    path.unlink()
    assert only(_files.weights()).state == "error"


def test_configured_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEEDBED_CONFIG", str(tmp_path / "c.yaml"))
    monkeypatch.delenv("SEEDBED_REAL_DATA", raising=False)
    assert states(_files.data()) == {"data": "ok"}
    (tmp_path / "c.yaml").write_text(f"data: {{voc12: {tmp_path}, coco14: {tmp_path / 'absent'}}}")
    monkeypatch.setenv("SEEDBED_REAL_DATA", "/nowhere")
    assert states(_files.data()) == {"data voc12": "ok", "data coco14": "error", "SEEDBED_REAL_DATA": "error"}


@pytest.mark.parametrize("text", ["", "[]", "data: 3", "data:", "{", "\0", "data: !!python/object:os.system {}"])
def test_an_unreadable_configuration_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    monkeypatch.setenv("SEEDBED_CONFIG", str(tmp_path / "c.yaml"))
    monkeypatch.delenv("SEEDBED_REAL_DATA", raising=False)
    (tmp_path / "c.yaml").write_text(text)
    assert only(_files.data()).state == "error"


def test_a_store_that_is_not_there_yet_is_made_by_the_first_run(tmp_path: Path) -> None:
    assert only(_files.store(tmp_path / "runs")).state == "ok"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("marker", ['{"format": 99}', "", "[]", "null"])
def test_a_store_of_another_format_is_an_error(tmp_path: Path, marker: str) -> None:
    (tmp_path / "seedbed-store.json").write_text(marker)
    assert only(_files.store(tmp_path)).state == "error"


def test_folders_that_are_no_stores_are_errors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    assert "thesis.tex" in only(_files.store(tmp_path)).found
    assert only(_files.store(tmp_path / "thesis.tex")).state == "error"
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "cannot be written" in only(_files.store(tmp_path / "runs")).found


def test_what_killed_and_damaged_things_lie_in_the_store(tmp_path: Path) -> None:
    store = Store(tmp_path / "store").create()
    for kind, holder in (("row", {"start": "1"}), ("score", {})):
        folder = store.root / kind / ("a" * 64)
        folder.mkdir(parents=True)
        (folder / "lease.json").write_text(json.dumps({**this_process(), **holder, "token": "t"}))
    (store.root / "damaged" / "x").mkdir(parents=True)
    found = {finding.name: finding for finding in _files.store(store.root)}
    assert {name: finding.state for name, finding in found.items()} == {
        "store": "ok",
        "leases": "warning",
        "damaged": "warning",
    }
    assert "0 artefacts, 1 stages running" in found["store"].found
    assert "row/aaaaaaaaaaaa" in found["leases"].found


def test_a_check_that_fails_hides_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object) -> Iterator[Finding]:
        yield Finding("half", "ok", "done")
        raise OSError("a driver\nthat hangs")

    monkeypatch.setattr(_machine, "devices", broken)
    names = {finding.name: finding for finding in diagnose(tmp_path / "runs")}
    assert names["devices"] == Finding("devices", "warning", "could not be looked at (OSError: a driver that hangs)")
    assert {"half", "packages", "store"} <= set(names)


def test_text_and_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    findings = [Finding("one", "ok", "fine"), Finding("second", "error", "absent " * 30, "install it")]
    lines = to_text(findings).split("\n")
    assert lines[0] == "✓ one     fine"
    assert lines[1].startswith("✗ second  absent absent") and lines[2].startswith("          absent")
    assert lines[-2:] == ["          → install it", "errors: 1, warnings: 0"]
    assert all(len(line) <= 120 for line in lines)
    assert not is_fit(findings) and is_fit(findings[:1])
    monkeypatch.setattr("harness.checkups.doctor.diagnose", lambda *_: findings)
    with pytest.raises(typer.Exit) as ended:
        doctor(tmp_path, as_json=True)
    assert ended.value.exit_code == 1
    assert [finding["state"] for finding in json.loads(capsys.readouterr().out)] == ["ok", "error"]


def test_it_imports_neither_torch_nor_ray_and_writes_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from harness.checkups.doctor import diagnose; "
        f"findings = diagnose(Path({str(tmp_path / 'runs')!r})); "
        "print(len(findings), sorted({'torch', 'ray', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    count, loaded = done.stdout.split(maxsplit=1)
    assert int(count) >= 10 and loaded == "[]\n"
    assert list(tmp_path.iterdir()) == []


def test_it_survives_broken_torch_and_ray(tmp_path: Path) -> None:
    for name in ("torch", "ray", "timm"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('broken')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from harness.commands.main import doctor; doctor()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
    )
    assert "errors:" in done.stdout, done.stderr
