"""A store that an earlier version made (`tests/golden/old_store`, from a smoke run) opens, verifies and is loaded."""

import json
import shutil
from pathlib import Path

import pytest

import results
from harness.execution.descriptions import described
from harness.stages.graph import Stage
from harness.store.care.usage import verify
from harness.store.layout import CountFiles, Ref, RowFiles
from harness.store.store import Store
from tests.conftest import REPOSITORY

DESCRIPTIONS = json.loads((REPOSITORY / "tests" / "golden" / "old_descriptions.json").read_text(encoding="utf-8"))
ROW = Ref("row", "41b1aa195e45e316bf86f741a9c60a6b1be16733833de68cf7caa8c063c5cfb9")
SCORE = Ref("score", "399c36b3eb71038ee87c6b3252b612ac75b93a97105165eef4a2e09a40d7a986")


@pytest.fixture
def old(tmp_path: Path) -> Store:
    return Store(shutil.copytree(Path(__file__).parents[2] / "golden" / "old_store", tmp_path / "old")).create()


def test_it_opens_and_is_whole(old: Store) -> None:
    before = {path: path.read_bytes() for path in old.root.rglob("*") if path.is_file()}
    assert verify(old) == (2, [])
    artefact = old.open(ROW)
    assert sorted(artefact.record.files) == ["counts.parquet", "rows.parquet", "sources.json"]
    assert RowFiles(artefact.folder).rows.stat().st_size == 15173
    assert CountFiles(old.open(SCORE).folder).truth.is_file()
    assert {path: path.read_bytes() for path in old.root.rglob("*") if path.is_file()} == before


def test_its_records_say_what_they_said(old: Store) -> None:
    row, score = old.record(ROW), old.record(SCORE)
    assert row.label == "cam · clean · rng seed 0 · row segmentation fixed"
    assert (row.group, row.photos, row.seconds, row.bytes) == ("rows", 0, 0.0115, 17959)
    assert row.inputs[0] == SCORE and row.inputs[1].kind == "weak_set"
    assert row.identity["row"] == {**row.identity["row"], "policy": "fixed", "protocol": "voc/1"}  # type: ignore[dict-item]
    assert (row.ledger, row.gpus, row.device, row.finished) == ((), 1, "cpu", "2026-11-29T06:40:35.949665+00:00")
    assert [entry["purpose"] for entry in score.ledger] == ["score"]
    assert row.numerics == {}
    # Byte by byte: what is written now is what was written then.
    assert row.to_json() == (old.root / "row" / ROW.key / "done.json").read_text()
    assert score.to_json() == (old.root / "score" / SCORE.key / "done.json").read_text()


def test_its_row_is_loaded(old: Store) -> None:
    (row,) = results.load(old.root).to_dict("records")
    assert (row["recipe"], row["stage"], row["policy"], row["status"]) == ("cam", "segmentation", "fixed", "ok")
    assert row["miou"] == pytest.approx(0.0301196, abs=1e-6)
    assert row["per_class"] == pytest.approx([0.0, 0.0903589, 0.0], abs=1e-6)
    assert (row["labels_read"], row["masks_scored"], row["photos"]) == (32, 16, 16)


@pytest.mark.parametrize("kind", DESCRIPTIONS)
def test_a_stage_of_every_kind_that_was_described_is_read_as_what_it_was(kind: str) -> None:
    """`tests/golden/old_descriptions.json` was written by c3d8e38, before identities and runtimes had types."""
    content = DESCRIPTIONS[kind]["description"]
    stage = Stage.from_json(content)
    assert stage.ref == Ref(kind, DESCRIPTIONS[kind]["key"])
    assert (stage.label, stage.group, stage.photos) == (content["label"], content["group"], content["photos"])
    now = json.loads(json.dumps(stage.to_json()))
    # Nothing is lost on the way; an entry that has a default now may have joined.
    assert now["runtime"].items() >= content["runtime"].items()
    assert {**now, "runtime": content["runtime"]} == content


def test_its_stages_are_known(old: Store) -> None:
    stages = described(old)
    assert list(stages) == [ROW.key]
    assert stages[ROW.key].ref == ROW and stages[ROW.key].label == old.record(ROW).label
