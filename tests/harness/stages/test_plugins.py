"""Plug-in files: found beside the suite, carried as text, named in keys; and components of other distributions."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import settings.discovery
from harness.commands import main as cli
from harness.execution.descriptions import find_described
from harness.execution.job import Job
from harness.execution.worker import run_job
from harness.reports.leaderboard import Finished, run_and_gather
from harness.stages.graph import Stage
from harness.stages.planning import Plan, make_plan
from harness.stages.plugins import plugins_of, read_plugins
from harness.store.events import Ending
from harness.store.store import Store
from harness.suites.data import dataset_of
from harness.suites.suite import load_suite
from settings.discovery import LABELERS, REGISTRIES, SETTINGS
from settings.errors import UserError
from settings.plugins import MAX_BYTES, plugged_in
from tests.conftest import REPOSITORY

PAINTED = """
import numpy as np
from methods.labelers.all_background import AllBackgroundLabeler

class Painted(AllBackgroundLabeler):
    "The photo's first class everywhere."

    def label(self, photo, maps, cue_HW=None):
        return np.full(photo.image().shape[:2], photo.labels[0] + 1, np.uint8)
"""
PARTS = {
    "painted": PAINTED,
    "pale": "from methods.localizers.cam import Cam\nclass Pale(Cam):\n    'Like it.'\n",
    "meadows": "from settings.datasets.scenes import Scenes\nclass Meadows(Scenes):\n    'Like it.'\n",
    "terse": "import settings.clean\nfrom settings.setting import Setting\nclass Terse(Setting):\n    'Like clean.'\n"
    "    def offer(self, target):\n        return settings.clean.Clean(self.options).offer(target)\n",
}
SUITE = """
plugins: [painted.py]
dataset: {name: scenes, classes: 2, size: 32, train: 3, dev: 1, val: 1}
policies: {fixed: pseudo_labels}
recipes: {painted: {labeler: painted}}
"""
EVERYTHING = """
plugins: [pale.py, meadows.py, terse.py]
dataset: {name: meadows, classes: 2, size: 32, train: 3, dev: 1, val: 1}
settings: [terse]
backbone: {name: test_efficientnet, weights: random, size: 64}
policies: {fixed: pseudo_labels}
recipes: {pale: {localizer: pale, labeler: threshold}}
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes files into a folder and gives its suite's path."""

    def written(suite: str = SUITE, **texts: str) -> Path:
        for name, text in (texts or {"painted": PAINTED}).items():
            (tmp_path / f"{name}.py").write_text(text)
        (tmp_path / "mine.yaml").write_text(suite)
        return tmp_path / "mine.yaml"

    return written


def stages(plan: Plan, kind: str) -> list[Stage]:
    return [stage for stage in plan.graph.values() if stage.kind.name == kind]


def keys(plan: Plan) -> dict[str, set[str]]:
    return {kind: {stage.key for stage in stages(plan, kind)} for kind in {ref.kind for ref in plan.graph}}


def finished(suite: Path, executor: str = "serial") -> Finished:
    return run_and_gather(load_suite(suite), suite.parent / "store", executor)


def score(run: Finished) -> float:
    (row,) = run.board.rows
    assert row.miou is not None, row.reason
    return row.miou


def test_a_labeler_beside_the_suite_gets_its_row(write: Callable[..., Path]) -> None:
    """Its score is that of a loop over the classes: intersection over union of the whole set."""
    suite = write()
    scenes = dataset_of(load_suite(suite).dataset)
    hits, unions = [0, 0, 0], [0, 0, 0]
    for photo_id in scenes.splits["train"]:
        truth, painted = scenes.read_mask(photo_id), scenes.photo(photo_id).labels[0] + 1
        for value in range(3):
            hits[value] += int((truth == value).sum()) if value == painted else 0
            unions[value] += truth.size if value == painted else int((truth == value).sum())
    expected = [hit / union for hit, union in zip(hits, unions, strict=True) if union]
    assert score(finished(suite)) == pytest.approx(sum(expected) / len(expected))


def test_every_kind_is_found_and_its_hash_is_in_the_keys_that_it_decides(write: Callable[..., Path]) -> None:
    suite = write(EVERYTHING, **PARTS)
    before = make_plan(load_suite(suite))
    named = {kind: set(stages(before, kind)[0].identity.plugins or ()) for kind in keys(before)}
    assert named == {
        "weak_set": {"terse", "meadows"},
        "features": {"meadows"},
        "localizer_fit": {"pale", "meadows"},
        "localizer_apply": {"pale", "meadows"},
        "label": {"meadows"},
        "sweep": {"meadows"},
        "score": {"meadows"},
        "row": {"meadows"},
    }
    changed = {}
    for name in ("pale", "terse", "meadows"):
        write(EVERYTHING, **{**PARTS, name: PARTS[name] + "# another text\n"})
        after = keys(make_plan(load_suite(suite)))
        changed[name] = {kind for kind, made in keys(before).items() if made.isdisjoint(after[kind])}
    assert changed["meadows"] == set(named)
    assert changed["pale"] == {"localizer_apply", "localizer_fit", "label", "sweep", "score", "row"}
    # A setting decides who trains on what; the features of a photo are the same under all of them.
    assert changed["terse"] == changed["pale"] | {"weak_set"}


def test_a_suite_without_plugins_has_none_in_its_keys(write: Callable[..., Path]) -> None:
    plan = make_plan(load_suite(write(SUITE.replace("painted", "all_background").replace("[all_background.py]", "[]"))))
    assert not any(stage.identity.plugins or stage.runtime.plugins for stage in plan.graph.values())


def test_an_edit_is_another_component_in_the_same_process(write: Callable[..., Path]) -> None:
    ones = score(finished(write()))
    zeros = finished(write(painted=PAINTED.replace("photo.labels[0] + 1", "0")))
    assert zeros.run.stages_run == 3
    assert score(zeros) != ones
    again = finished(write())
    assert (again.run.stages_run, score(again)) == (0, ones)


def test_what_was_planned_is_what_runs_whatever_became_of_the_file(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage brings its plug-in along, as JSON beside the store and as a job to a worker."""
    suite = write()
    plan = make_plan(load_suite(suite))
    (tmp_path / "painted.py").write_text("raise RuntimeError('an edit after planning')")
    (label,) = stages(plan, "label")
    store = Store(tmp_path / "store").create()
    job = pickle.loads(pickle.dumps(Job((label,), store.root, tmp_path / "log.jsonl")))
    assert [outcome.status for outcome in run_job(job)] == [Ending.DONE]
    record = store.record(label.ref)
    assert record.identity["plugins"] == label.identity.plugins
    assert list(record.sources) == ["methods.labelers.all_background"]


def test_one_stage_runs_alone_in_a_fresh_process_without_the_file(write: Callable[..., Path], tmp_path: Path) -> None:
    run = finished(write())
    (tmp_path / "painted.py").unlink()
    (label,) = stages(run.run.plan, "label")
    command = [
        sys.executable,
        "-m",
        "harness.commands.main",
        "stage",
        label.key,
        "--store",
        str(run.run.store_folder),
        "--debug",
    ]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, cwd=REPOSITORY).stdout
    assert "ran in" in shown


def test_another_text_than_the_one_in_the_key_does_not_run(write: Callable[..., Path], tmp_path: Path) -> None:
    run = finished(write())
    (label,) = find_described(Store(run.run.store_folder), stages(run.run.plan, "label")[0].key)
    (carried,) = label.runtime.plugins
    other = replace(carried, text=PAINTED + "import os\n")
    forged = replace(label, runtime=replace(label.runtime, plugins=(other,)))
    assert forged.key == label.key
    with pytest.raises(UserError, match=r"painted\.py: found another text; expected the one that .* was planned with"):
        plugins_of([forged])
    (outcome,) = run_job(Job((forged,), tmp_path / "other", tmp_path / "log.jsonl"))
    assert (outcome.status, outcome.is_users) == ("failed", True)


def test_files_are_named_relative_to_the_file_that_names_them(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = write()
    above = tmp_path / "above"
    above.mkdir()
    (above / "over.yaml").write_text("include: ../mine.yaml\n")
    names = [load_suite(above / "over.yaml").plugins]
    monkeypatch.setenv("PLACE", str(tmp_path))
    names.append(load_suite(write(SUITE.replace("[painted.py]", "['${PLACE}/painted.py']"))).plugins)
    monkeypatch.chdir(tmp_path)
    names.append(load_suite(suite, ["plugins=[painted.py]"]).plugins)
    for (name,) in names:
        assert [plugin.sha256 for plugin in read_plugins([name])] == [
            read_plugins([suite.parent / "painted.py"])[0].sha256
        ]


def test_one_file_may_hold_several_kinds(write: Callable[..., Path]) -> None:
    (plugin,) = read_plugins(load_suite(write(painted=PAINTED + PARTS["terse"])).plugins)
    with plugged_in([plugin]):
        assert {kind for kind, registry in REGISTRIES.items() if plugin.name in registry.names()} == {
            "labelers",
            "settings",
        }
        assert LABELERS.load("painted").__name__ == "Painted"
        assert SETTINGS.load("painted").__name__ == "Terse"
    assert "painted" not in LABELERS.names()


BROKEN = {
    "no Python": ("def x(:", [":1: found unreadable Python", "invalid syntax"]),
    "nothing": ("", ["found no component", "Localizer"]),
    "no component": ("class Painted: pass", ["found no component", "Localizer"]),
    "nul": ("x = '\0'", ["found unreadable Python"]),
    "raises": (PAINTED + "1 / 0\n", [":10: found ZeroDivisionError (division by zero)"]),
    "needs": (PAINTED + "import no_such_module\n", ["ModuleNotFoundError", "no_such_module"]),
    "exits": (PAINTED + "raise SystemExit(0)\n", ["SystemExit"]),
    "two": (PAINTED + "class Other(AllBackgroundLabeler): pass\n", ["found 2 classes on Labeler; expected one"]),
    "abstract": (
        "from methods.base import Labeler\nclass Mine(Labeler):\n    pass\n",
        ["class Mine without label", "every method that Labeler asks for"],
    ),
    "later": (PAINTED + "return\n", ["SyntaxError", "'return' outside function"]),
}


@pytest.mark.parametrize(("text", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_one_line_that_names_it(write: Callable[..., Path], text: str, words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        make_plan(load_suite(write(painted=text)))
    line = str(error.value)
    assert "\n" not in line
    assert "painted.py" in line
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("plugins", "words"),
    [
        ("[nowhere.py]", "nowhere.py: found no such file"),
        ("[painted.yaml]", "painted.yaml: found no such file"),
        ("[mine.yaml]", "the name 'mine.yaml'; expected letters"),
        ("[.]", "no such file"),
        ('["a\\0b.py"]', "no such file"),
        ("painted.py", "plugins"),
        ("[3]", "plugins"),
        ("['${NOT_SET_ANYWHERE}/painted.py']", "NOT_SET_ANYWHERE"),
        ("[painted.py, other/painted.py]", "painted.py again; expected a name for each plug-in"),
        ("[threshold.py]", "threshold.py: found the name of the labeler 'threshold'; expected a new name"),
        ("[latin.py]", "latin.py: found an unreadable text"),
        ("[long.py]", f"long.py: found {MAX_BYTES + 1} bytes; expected at most {MAX_BYTES}"),
    ],
)
def test_a_list_of_plugins_that_cannot_be_is_one_line(
    write: Callable[..., Path], tmp_path: Path, plugins: str, words: str
) -> None:
    suite = write(SUITE.replace("[painted.py]", plugins), painted=PAINTED, threshold=PAINTED)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "painted.py").write_text(PAINTED)
    (tmp_path / "latin.py").write_bytes("# é\n".encode("latin-1"))
    (tmp_path / "long.py").write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(UserError) as error:
        make_plan(load_suite(suite))
    assert "\n" not in str(error.value)
    assert words in str(error.value)


def test_a_broken_plugin_ends_the_command_with_one_line_and_exit_code_2(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "unreadable Python" in told_in_one_line(write(painted="def x(:"), monkeypatch, capsys)


OLD = "dataset: {name: scenes, classes: 2, size: 32, train: 3, dev: 1, val: 1}\npolicies: {fixed: pseudo_labels}\n"
OLD += "backbone: {name: test_efficientnet, weights: random, size: 64}\nplugins: [old.py]\n"
FORMS = {
    "Localizer": {
        "fit(weak, bank, backbone, context)": "fit(weak, surroundings)",
        "apply(photos, weak, weights, bank, context)": "apply(photos, surroundings)",
        "views(photo, weak, weights, bank, context)": "views(photo, surroundings)",
        "scores_NK(photos, weights, bank, context)": "scores_NK(photos, surroundings)",
        "measures(photos, weak, weights, bank, context)": "measures(photos, surroundings)",
    },
    "Refiner": {
        "fit(data, bank, backbone, context)": "fit(data, surroundings)",
        "apply(photos, maps, weights, bank, context)": "apply(photos, maps, surroundings)",
    },
    "Cue": {
        "fit(photos, bank, backbone, context)": "fit(photos, surroundings)",
        "apply(photos, weights, bank, context)": "apply(photos, surroundings)",
    },
    "Segmenter": {
        "fit(data, bank, backbone, context)": "fit(data, surroundings)",
        "apply(photos, label_space, weights, bank, backbone, context)": "apply(photos, surroundings)",
    },
    "Classifier": {
        "out_of_fold(target, extra, foreground, bank, context)": "out_of_fold(target, extra, surroundings)",
    },
    "Labeler": {"label(photo, maps)": "label(photo, maps, cue_HW)"},
}
"""What plug-ins define that were written before there were surroundings, and what they are to define."""
WEB = "settings: {web: {name: web, classifier: old, filter: small_loss, source: {name: scenes, photos_per_class: 2}}}\n"
RECIPES = {
    "Localizer": "recipes: {old: {localizer: old, labeler: threshold}}",
    "Refiner": "recipes: {old: {localizer: cam, refiners: [old], labeler: threshold}}",
    "Cue": "recipes: {old: {localizer: cam, cue: old, labeler: saliency}}",
    "Segmenter": "recipes: {old: {localizer: cam, labeler: threshold, segmenter: old}}",
    "Classifier": WEB + "recipes: {old: {localizer: cam, labeler: threshold}}",
    "Labeler": "recipes: {old: {localizer: cam, labeler: old}}",
}


def old_form(base: str) -> str:
    """A component of that kind, as it was written for the old form of its base class."""
    methods = [f"    def {form.replace('(', '(self, ')}:\n        return None\n" for form in FORMS[base]]
    return f"from methods.base import {base}\n\nclass Old({base}):\n    'Like it.'\n" + "".join(methods)


def told_in_one_line(suite: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What `seedbed run` says before any work, with exit code 2."""
    monkeypatch.setattr("sys.argv", ["seedbed", "run", str(suite), "--store", str(suite.parent / "store")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    shown = capsys.readouterr()
    assert (ended.value.code, shown.out) == (2, "")
    assert shown.err.startswith("seedbed: ") and shown.err.count("\n") == 1
    assert not (suite.parent / "store").exists()
    return shown.err.removeprefix("seedbed: ").strip()


@pytest.mark.parametrize("base", FORMS)
def test_a_plugin_of_the_old_form_is_told_what_changed(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], base: str
) -> None:
    suite = write(OLD + RECIPES[base], old=old_form(base))
    line = told_in_one_line(suite, monkeypatch, capsys)
    found, expected = ", ".join(FORMS[base]), ", ".join(FORMS[base].values())
    mend = "" if base == "Labeler" else "take bank, backbone, weights … from surroundings: "
    mend += "see 'Adding a component' in CONTRIBUTING.md"
    assert line == f"{suite.parent / 'old.py'}:5: found {found}; expected {expected}; {mend}"


@pytest.mark.parametrize("base", FORMS)
def test_so_is_an_entry_point_of_the_old_form(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    (tmp_path / "elsewhere_of_old.py").write_text(old_form(base))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "elsewhere_of_old", raising=False)
    point = EntryPoint("old", "elsewhere_of_old:Old", f"seedbed.{base.lower()}s")
    monkeypatch.setattr(settings.discovery, "entry_points", lambda *, group: [point] if group == point.group else [])
    suite = write(OLD.replace("[old.py]", "[]") + RECIPES[base])
    with pytest.raises(UserError) as error:
        make_plan(load_suite(suite))
    form, *_ = FORMS[base]
    assert f"{tmp_path / 'elsewhere_of_old.py'}:5: found {form}" in str(error.value)


@pytest.mark.parametrize(("name", "new"), [("StageContext", "Surroundings"), ("Part", "Component")])
@pytest.mark.parametrize("how", ["from methods.base import {0}", "import methods.base\nx = methods.base.{0}"])
def test_a_plugin_that_imports_what_is_gone_is_told_what_stands_there(
    write: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    new: str,
    how: str,
) -> None:
    suite = write(OLD + RECIPES["Localizer"], old=f"{how.format(name)}\n" + old_form("Localizer"))
    line = told_in_one_line(suite, monkeypatch, capsys)
    place = f"{suite.parent / 'old.py'}:{how.count(chr(10)) + 1}"
    assert line.startswith(f"{place}: found '{name}' of methods.base; expected '{new}'; take bank, backbone, weights")


def test_a_plugin_may_take_more_than_its_base_class_gives(write: Callable[..., Path]) -> None:
    """Arguments with defaults, and any arguments."""
    text = "from methods.base import Localizer\n\nclass Old(Localizer):\n    'Like it.'\n"
    text += "    def fit(self, weak, surroundings, more=None):\n        return None\n"
    text += "    def apply(self, *everything):\n        return ()\n"
    plan = make_plan(load_suite(write(OLD + RECIPES["Localizer"], old=text)))
    assert stages(plan, "localizer_fit")


def test_a_component_that_fails_later_shows_its_own_lines(write: Callable[..., Path]) -> None:
    run = finished(
        write(painted=PAINTED.replace("return np.full", "raise ValueError('a bad day')  # here\n        np"))
    )
    assert run.exit_code == 1
    (failure,) = (run.run.store_folder / "failures").glob("*.json")
    assert "# here" in json.loads(failure.read_text())["traceback"]


DISTRIBUTION = {
    "elsewhere/__init__.py": "",
    "elsewhere/painting.py": "from .brushes import value\n" + PAINTED.replace("photo.labels[0] + 1", "value(photo)"),
    "elsewhere/brushes.py": "def value(photo):\n    return photo.labels[0] + 1\n",
    "elsewhere/unrelated.py": "x = 1\n",
    "elsewhere-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n",
    "elsewhere-1.0.dist-info/entry_points.txt": "[seedbed.labelers]\npainted = elsewhere.painting:Painted\n",
}
LOOK = """
import json, sys
from pathlib import Path
from harness.execution.running import run_suite
from harness.reports.gathering import gather
from harness.suites.suite import load_suite
with run_suite(load_suite(sys.argv[1]), Path(sys.argv[2]), "serial") as run:
    (row,) = gather(run).rows
(record,) = run.store_folder.glob("label/*/done.json")
sources = list(json.loads(record.read_text())["sources"])
print(json.dumps([run.stages_run, row.reason, sources, list(row.stale)]))
"""


def test_a_component_of_another_distribution_and_its_sources(write: Callable[..., Path], tmp_path: Path) -> None:
    suite = write(SUITE.replace("[painted.py]", "[]"))
    site = tmp_path / "site"
    for name, text in DISTRIBUTION.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)

    def looked() -> list[object]:
        command = [sys.executable, "-c", LOOK, str(suite), str(tmp_path / "store")]
        paths = os.pathsep.join([str(site), str(REPOSITORY)])
        shown = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
        assert shown.returncode == 0, shown.stderr
        return list(json.loads(shown.stdout))

    assert looked() == [4, "", ["elsewhere.painting"], []]
    (site / "elsewhere" / "unrelated.py").write_text("x = 2\n")
    assert looked() == [0, "", ["elsewhere.painting"], []]
    (site / "elsewhere" / "brushes.py").write_text("def value(photo):\n    return 1\n")
    assert looked() == [0, "", ["elsewhere.painting"], ["elsewhere.painting"]]
