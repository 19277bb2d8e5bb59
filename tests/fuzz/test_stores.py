"""Stores and archives that were tampered with: an artefact is opened whole or set aside, never half of one."""

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import results
from harness.store.care.archive import export
from harness.store.care.importing import Importer
from harness.store.care.usage import published
from harness.store.events import EventLog
from harness.store.layout import Ref
from harness.store.store import Lost, Store
from methods.base import LocalizationMaps
from methods.localization import read_maps, write_maps
from results.rows import Row, read_rows, write_rows
from settings.masks import write_mask
from tests.fuzz.judging import DAMAGE, Damage, damage_file, folder, judge, names_in, seedbed, share

ROW = Row(
    dataset="d",
    split="val",
    recipe="cam",
    setting="clean",
    training_mode="frozen",
    rng_seed=0,
    evaluation_fingerprint="x",
    training_fingerprint="y",
    supervision="I",
    stage="segmentation",
    miou=0.5,
    per_class=[0.5, None],
    classes=["background", "cat"],
)
RECORD: dict[str, Any] = {"seconds": 1.0, "device": "cpu", "peak_memory_bytes": 1, "sources": {}, "identity": {}}
GARBAGE = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff",
    b"[" * 100_000,
    b'{"attempt": "../../.."}',
    b'{"attempt": 3, "files": {}}',
]


@cache
def template() -> Path:
    """A small store with an artefact of each form: maps, masks, a row, text."""
    store = Store(Path(mkdtemp(prefix="seedbed-fuzz-")) / "store").create()
    for number, kind in enumerate(("localizer_apply", "label", "row", "weak_set")):
        attempt = store.attempt(Ref(kind, f"{number:x}" * 64))
        if kind == "localizer_apply":
            maps_CHW = np.linspace(0, 1, 12, dtype=np.float32).reshape(1, 3, 4)
            write_maps(attempt.path("maps.safetensors"), [LocalizationMaps("a", (0,), maps_CHW, (6, 8))])
        elif kind == "label":
            write_mask(attempt.path("a.png"), np.zeros((3, 4), np.uint8))
        elif kind == "row":
            write_rows(attempt.path("rows.parquet"), [ROW])
        else:
            attempt.path("photos.json").write_text("{}")
        attempt.record = replace(attempt.record, **RECORD, label=f"stage {kind}")
        store.publish(attempt)
    (store.root / "events").mkdir()
    log = EventLog(store.root / "events" / "one.jsonl")
    log.write("run_started", suite="s", executor="serial", groups={"0" * 64: "g"}, driver={})
    log.write("failed", stages=["0" * 64], reason="it broke")
    log.write("run_finished", failures=1, blocked=0)
    for name, content in (("stages", {"label": "a"}), ("failures", {"label": "b", "reason": "r", "traceback": "t"})):
        (store.root / name).mkdir()
        (store.root / name / ("0" * 64 + ".json")).write_text(json.dumps(content))
    return store.root


def contents(root: Path, folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


FILES = st.integers(0, 100)


def tampered(store: Path, number: int, damage: Damage, garbage: bytes | None) -> Path:
    """A copy of the store in which one file is not what it was."""
    shutil.copytree(template(), store)
    files = sorted(path for path in store.rglob("*") if path.is_file())
    path = files[number % len(files)]
    if garbage is None:
        damage_file(path, damage)
    else:
        path.write_bytes(garbage)
    return path


@given(number=FILES, damage=DAMAGE, garbage=st.one_of(st.none(), st.sampled_from(GARBAGE)))
@share(0.1)
def test_artefacts_are_whole_or_set_aside(number: int, damage: Damage, garbage: bytes | None) -> None:
    with folder() as root:
        path = tampered(root / "store", number, damage, garbage)
        store = Store(root / "store")
        refs = published(Store(template()))
        for ref in refs:
            try:
                artefact = store.open(ref)
            except Lost:
                assert path.is_relative_to(store.root / ref.kind) and not store.has(ref)
                assert (
                    not (store.root / ref.kind / ref.key).exists()
                    and len(list((store.root / "damaged").iterdir())) == 1
                )
            else:
                intact = Store(template()).open(ref)
                assert contents(artefact.folder, artefact.folder) == contents(intact.folder, intact.folder)


VERBS = st.sampled_from(
    [
        *(("status",), ("logs", "0"), ("logs", "stage row"), ("logs", "nothing"), ("stage", "0"), ("store", "du")),
        *(
            ("store", "verify"),
            ("store", "rm", "row"),
            ("store", "gc", "smoke"),
            ("doctor",),
            ("store", "export", "a.tar"),
        ),
    ]
)


@given(number=FILES, damage=DAMAGE, garbage=st.one_of(st.none(), st.sampled_from(GARBAGE)), verb=VERBS)
@share(0.08)
def test_verbs_on_a_damaged_store(number: int, damage: Damage, garbage: bytes | None, verb: tuple[str, ...]) -> None:
    with folder() as root:
        tampered(root / "store", number, damage, garbage)
        place = [str(root / part) if part == "a.tar" else part for part in verb]
        seedbed(*place, "--store", root / "store")
        assert names_in(root) - {f"store/{name}" for name in names_in(root / "store")} <= {"store", "a.tar"}


@given(
    damage=DAMAGE,
    name=st.sampled_from(["rows.parquet", "done.json"]),
    garbage=st.one_of(st.none(), st.sampled_from(GARBAGE)),
)
@share(0.05)
def test_rows_of_a_store(damage: Damage, name: str, garbage: bytes | None) -> None:
    with folder() as root:
        shutil.copytree(template(), root / "store")
        (path,) = (path for path in (root / "store" / "row").rglob(name))
        damage_file(path, damage) if garbage is None else path.write_bytes(garbage)
        frame: Any = judge(lambda: results.load(root / "store"))
        assert frame is None or len(frame) <= 1
        if name == "rows.parquet":
            judge(lambda: read_rows(path))


@given(damage=DAMAGE)
@share(0.03)
def test_maps_from_anywhere(damage: Damage) -> None:
    with folder() as root:
        path = root / "maps.safetensors"
        (source,) = template().rglob("maps.safetensors")
        shutil.copyfile(source, path)
        damage_file(path, damage)
        for record in judge(lambda: read_maps(path)) or []:
            assert record.maps_CHW.ndim == 3


@cache
def archives() -> dict[str, bytes]:
    with folder() as root:
        store = Store(template())
        for suffix in (".tar", ".tar.gz", ".tar.zst"):
            export(store, published(store), root / f"a{suffix}")
        return {path.name: path.read_bytes() for path in root.iterdir()}


@given(name=st.sampled_from(["a.tar", "a.tar.gz", "a.tar.zst"]), damage=DAMAGE)
@share(0.08)
def test_archives(name: str, damage: Damage) -> None:
    """Whatever arrives is bit by bit what was exported; what does not leaves nothing."""
    with folder() as root:
        (root / name).write_bytes(archives()[name])
        damage_file(root / name, damage)
        judge(lambda: Importer(Store(root / "target")).read(root / name))
        target = Store(root / "target")
        arrived = [slot.ref for slot in target.backend.slots()] if target.root.exists() else []
        for ref in arrived:
            artefact, original = target.open(ref), Store(template()).open(ref)
            assert contents(artefact.folder, artefact.folder) == contents(original.folder, original.folder)
            assert {path.name for path in artefact.folder.parent.iterdir()} == {artefact.folder.name, "done.json"}
        assert names_in(root) - {f"target/{n}" for n in names_in(root / "target")} <= {name, "target"}
