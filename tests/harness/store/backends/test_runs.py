"""Whole runs on a store behind a URL: the same table as in a folder, and work of one machine serves another."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

import results
from harness.commands.main import main
from harness.execution.running import run_plan
from harness.reports.leaderboard import Finished, run_and_gather
from harness.reports.status import log_of, run_one, status_of
from harness.stages.planning import make_plan
from harness.store.backends import _url
from harness.store.backends._remote import Remote
from harness.store.layout import FAILURES, Ref, document_of
from harness.store.store import Store
from harness.suites.suite import load_suite
from results.rows import IDENTITY
from settings.errors import UserError
from tests.harness.conftest import results_of

CAM = (
    "recipes={cam: {localizer: {name: cam, hidden: 16, training: {epochs: 2, batch: 8}}, "
    "labeler: {name: threshold, threshold: 0.3}}}",
    "references=[all-background]",
    "gallery=0",
)
"""Overrides that leave one recipe of the smoke suite, as it stands there."""


@pytest.fixture(scope="module")
def url(bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A store that a machine has run a small suite on; none of the tests may change it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEEDBED_CACHE", str(tmp_path_factory.mktemp("driver")))
        _url._url_backend.cache_clear()
        run_and_gather(load_suite("smoke", CAM), f"{bucket}/smoke", "serial")
        yield f"{bucket}/smoke"


@pytest.fixture
def another(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same URL, seen from another machine."""
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "another"))
    _url._url_backend.cache_clear()
    return url


def test_another_machine_finds_all_done_and_the_same_table(another: str, smoke: Finished) -> None:
    finished = run_and_gather(load_suite("smoke", CAM), another, "serial")
    assert finished.run.stages_run == 0
    in_a_folder = {result[:-3]: result for result in results_of(smoke)}
    assert results_of(finished) == [in_a_folder[row.identity] for row in finished.board.rows]
    assert len(finished.board.rows) == 6
    assert (finished.folder / "table.md").is_file()
    assert not list(finished.run.store_folder.glob("features/*")), "what no row needs stays where it is"


def test_the_leaderboard_is_at_the_remote_too(url: str) -> None:
    assert {"table.md", "rows.parquet", "table.png"} <= {
        path.split("/", 1)[1] for path in Remote(url).sizes("leaderboards")
    }


def test_status_logs_and_costs_are_told_from_another_machine(another: str, smoke: Finished) -> None:
    text = status_of(another)
    assert text.startswith("smoke · serial · finished")
    assert "failed" not in text.split("\n", 1)[1]
    stage = next(stage for stage in smoke.run.plan.graph.values() if stage.kind.name == "segmenter_fit")
    assert f"{stage.label} ({stage.key[:12]}): done in" in log_of(another, stage.key)
    assert "epoch 1 · learning_rate" in log_of(another, stage.key)
    assert json.loads(Remote(another).read("costs.json"))


def test_a_damaged_artefact_is_made_again_within_a_run(
    bucket: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows and one set of predictions are removed; what the latter come from turns out damaged."""
    copy = f"{bucket}/damaged"
    fsspec.filesystem("s3", use_listings_cache=False).copy(f"{url}/", f"{copy}/", recursive=True)
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "another"))
    _url._url_backend.cache_clear()
    store = Store.at(copy).create()
    plan = make_plan(load_suite("smoke", CAM))
    score = next(
        plan.graph[ref].inputs["counts"][0] for ref in plan.rows if plan.graph[ref].inputs["counts"][0].kind == "score"
    )
    needed = next(iter(plan.graph[score].needs()))
    record = store.record(needed)
    name = next(iter(record.files))
    Remote(copy).write(f"files/{needed.kind}/{needed.key}/{record.attempt}/{name}", b"damage")
    for ref in [score, *(row for row in plan.rows if score in plan.graph[row].needs())]:
        store.backend.remove(ref)
    with run_plan(plan, copy, "serial") as run:
        assert not run.result.failures and not run.result.blocked
    assert store.open(needed).path(name).read_bytes() != b"damage"
    assert all(store.has(ref) for ref in plan.rows)


def test_a_failure_is_told_on_another_machine_until_it_is_mended(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{bucket}/failures"
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "one"))
    store = Store.at(url).create()
    failure = json.dumps({"label": "cam · fit", "reason": "no labels", "traceback": "line 1"})
    store.write_documents({document_of(FAILURES, "abc"): failure.encode()})
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "two"))
    assert log_of(url, "abc") == "cam · fit (abc)\nno labels\n\nline 1"
    attempt = store.attempt(Ref("fit", "abc"))
    store.publish(attempt)
    store.clean_up(Ref("fit", "abc"))
    with pytest.raises(UserError, match=f"the key, label or group of a stage in {url}"):
        log_of(url, "abcd")
    assert not list((tmp_path / "two").rglob("failures/*.json"))


def test_one_stage_runs_on_another_machine(another: str, smoke: Finished) -> None:
    stage = next(stage for stage in smoke.run.plan.graph.values() if stage.kind.name == "row")
    assert run_one(another, stage.key, debug=False) == (f"{stage.label}: done", 0)


def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["seedbed", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out, told.err


@pytest.fixture
def seedbed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    return lambda *arguments: command(monkeypatch, capsys, *arguments)


def test_the_care_of_a_store_behind_a_url(bucket: str, seedbed, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "one"))
    url = f"{bucket}/care"
    store = Store.at(url).create()
    for kind, key in (("a", "1" * 64), ("a", "2" * 64), ("b", "3" * 64)):
        attempt = store.attempt(Ref(kind, key))
        attempt.path("file.txt").write_text("content")
        store.publish(attempt)
    code, out, _ = seedbed("store", "du", "--store", url, "--json")
    told = json.loads(out)["kinds"]
    records = Remote(url).sizes("done")
    sizes = {kind: sum(size for name, size in records.items() if name.startswith(kind)) for kind in "ab"}
    assert code == 0
    assert told == {"a": {"count": 2, "bytes": 14 + sizes["a"]}, "b": {"count": 1, "bytes": 7 + sizes["b"]}}
    attempt_name = store.record(Ref("a", "1" * 64)).attempt
    Remote(url).write(f"files/a/{'1' * 64}/{attempt_name}/file.txt", b"CONTENT")
    code, out, _ = seedbed("store", "verify", "--store", url)
    assert code == 1 and f"damaged: a/{'1' * 64}" in out and "3 artefacts, 1 damaged" in out
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "two"))
    code, out, _ = seedbed("store", "rm", "b", "--dry-run", "--store", url)
    assert code == 0 and out.split()[:2] == ["1", "b"] and "would be freed; nothing was removed" in out
    code, out, _ = seedbed("store", "rm", "b", "--store", url)
    assert code == 0 and out.split()[:2] == ["1", "b"] and out.endswith(" freed\n")
    store = Store.at(url)
    assert [ref for ref in (Ref("a", "1" * 64), Ref("a", "2" * 64), Ref("b", "3" * 64)) if store.has(ref)] == [
        ("a", "2" * 64)
    ]


def test_export_gc_and_import_behind_a_url(
    bucket: str, url: str, seedbed, tmp_path: Path, monkeypatch, smoke: Finished
) -> None:
    """A suite that one machine has run goes by an archive to another URL: gc keeps it there, its table is the same."""
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "another"))
    _url._url_backend.cache_clear()
    archive, copy = tmp_path / "smoke.tar.zst", f"{bucket}/copy"
    options = [f"--set={override}" for override in CAM]
    stages = len(make_plan(load_suite("smoke", CAM)).graph)
    code, out, _ = seedbed("store", "export", archive, "smoke", *options, "--store", url)
    assert code == 0 and out.startswith(f"{stages} artefacts, ")
    code, out, _ = seedbed("store", "import", archive, "--store", copy)
    assert (code, out) == (0, f"{stages} imported, 0 there already, 0 refused\n")
    assert seedbed("store", "gc", "smoke", *options, "--store", copy)[:2] == (0, "0 B freed\n")
    finished = run_and_gather(load_suite("smoke", CAM), copy, "serial")
    in_a_folder = {result[:-3]: result for result in results_of(smoke)}
    assert finished.run.stages_run == 0
    assert results_of(finished) == [in_a_folder[row.identity] for row in finished.board.rows]
    table = results.load(copy)
    expected = {row.identity: row.miou for row in smoke.board.rows}
    assert len(table) == len(finished.board.rows)
    assert {tuple(row[name] for name in IDENTITY): row["miou"] for row in table.to_dict("records")}.items() <= (
        expected.items()
    )


@pytest.mark.parametrize("verb", ["du", "verify", "gc smoke", "rm row", "export x.tar"])
def test_a_place_without_a_store_is_one_line(bucket: str, seedbed, verb: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (f"{bucket}/nothing", str(tmp_path / "nothing")):
        code, out, err = seedbed("store", *verb.split(), "--store", place)
        assert (code, out) == (2, "")
        assert f"{place}: found no store; expected a folder or URL that a suite was run on" in err


@pytest.mark.parametrize(
    "verb", [("plan", "smoke"), ("run", "smoke"), ("status",), ("store", "du")], ids=lambda v: v[0]
)
def test_an_unreachable_server_is_one_line(seedbed, verb: tuple[str, ...], tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / verb[0]))

    def refused(*_: object, **__: object) -> None:
        raise ConnectionError("nobody there")

    system = fsspec.filesystem("memory")
    for name in ("cat_file", "find", "ls", "exists", "pipe_file"):
        monkeypatch.setattr(type(system), name, refused)
    _url._url_backend.cache_clear()
    code, out, err = seedbed(*verb, "--store", "memory://me:secret@host/x")
    assert (code, out) == (2, "")
    assert "nobody there" in err and "secret" not in err and err.count("\n") == 1
