"""The registries find components by file and by entry point, and import only what is named."""

import builtins
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

import settings.discovery
from settings.clean import Clean
from settings.discovery import (
    CLASSIFIERS,
    DATASETS,
    FILTERS,
    LABELERS,
    LOCALIZERS,
    REFINERS,
    REGISTRIES,
    SEGMENTERS,
    SETTINGS,
    Registry,
)
from settings.errors import UserError
from settings.plugins import Plugin, plugged_in


@pytest.fixture
def entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another distribution offers the setting `noisy` (and, in vain, another `clean`)."""
    offered = {
        "seedbed.settings": [EntryPoint(name, "settings.clean:Clean", "seedbed.settings") for name in ("noisy",)]
    }
    offered["seedbed.settings"].append(EntryPoint("clean", "nowhere:Nothing", "seedbed.settings"))
    monkeypatch.setattr(settings.discovery, "entry_points", lambda *, group: offered.get(group, []))


def test_files_are_components() -> None:
    assert {"scenes", "voc12"} <= set(DATASETS.names())
    assert "clean" in SETTINGS.names()
    assert "setting" not in SETTINGS.names(), "the base itself is no component"
    assert set(FILTERS.names()) == {"none", "classifier", "small_loss"}
    assert "logistic" in CLASSIFIERS.names()
    assert {"cam"} <= set(LOCALIZERS.names())
    assert {"threshold", "all_background"} <= set(LABELERS.names())
    assert {"deeplab", "all_background"} <= set(SEGMENTERS.names())
    assert list(LABELERS.names()) == sorted(LABELERS.names())


def test_names_are_listed_without_importing_the_files() -> None:
    code = (
        "import sys; from settings.discovery import *\n"
        "for registry in (DATASETS, SETTINGS, LOCALIZERS, REFINERS, LABELERS, SEGMENTERS): registry.names()\n"
        "named = {'settings.datasets.voc12', 'settings.clean', 'methods.localizers.cam', 'torch', 'PIL'}\n"
        "found = named & set(sys.modules)\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_named_is_imported() -> None:
    assert SETTINGS.load("clean") is Clean


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"^dataset: found unknown dataset 'voc2012'; .*did you mean 'voc12'\?$"):
        DATASETS.load("voc2012", "dataset")
    with pytest.raises(UserError, match=r"^localizers: found unknown localizer 'cma'; .*did you mean 'cam'\?$"):
        LOCALIZERS.load("cma")
    with pytest.raises(UserError, match="found unknown refiner 'x'"):
        REFINERS.load("x")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("no_such_module:Noisy", "ModuleNotFoundError"),
        ("settings.clean:Noisy", "AttributeError"),
        ("settings.clean:WeakSet", "expected a class on Setting"),
        ("settings.setting:Setting", "expected a class on Setting"),
        ("settings.records:fingerprint", "expected a class on Setting"),
    ],
)
def test_an_entry_point_that_leads_nowhere_is_one_line(monkeypatch: pytest.MonkeyPatch, value: str, words: str) -> None:
    points = [EntryPoint("noisy", value, "seedbed.settings")]
    monkeypatch.setattr(settings.discovery, "entry_points", lambda *, group: points)
    with pytest.raises(UserError, match=words) as error:
        SETTINGS.load("noisy")
    assert str(error.value).startswith(f"entry point noisy = {value}: ")


def plugin(text: str) -> Plugin:
    return Plugin("/somewhere/mine.py", text)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("from methods.base import Localizer\nclass A(Localizer): pass", {"localizers"}),
        ("import methods.base\nclass A(methods.base.Localizer): pass", {"localizers"}),
        ("from methods.localizers.cam import Cam as C\nclass A(C): pass", {"localizers"}),
        ("from methods.labelers.threshold import Threshold\nclass A(Threshold): pass", {"labelers"}),
        (
            "from methods.base import Cue\nimport settings.setting as s\nclass A(s.Setting): 0\nclass B(Cue): 0",
            {"settings", "cues"},
        ),
        ("from results.metric import Metric\nclass A(Metric[int]): pass", {"metrics"}),
        ("from settings.options import Options\nclass A(Options): pass", set()),
        ("from methods.localizers.cam import Cam\n", set()),
        ("# class A(Localizer): pass", set()),
    ],
)
def test_a_plugins_text_tells_its_kinds(text: str, kinds: set[str]) -> None:
    with plugged_in([plugin(text)]):
        assert {kind for kind, registry in REGISTRIES.items() if "mine" in registry.names()} == kinds


def test_a_plugin_is_known_only_while_it_is_plugged_in_and_run_only_when_named() -> None:
    counting = plugin("from settings.clean import Clean\nclass Mine(Clean): pass\nimport builtins\nbuiltins.ran = True")
    with plugged_in([counting]):
        assert "mine" in SETTINGS.names()
        assert not hasattr(builtins, "ran")
        kind = SETTINGS.load("mine")
        assert issubclass(kind, Clean) and kind is not Clean and kind is SETTINGS.load("mine")
        del builtins.ran  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="unknown setting 'mine'"):
        SETTINGS.load("mine")


def test_a_class_and_what_it_builds_on_in_one_file_are_one_component() -> None:
    both = plugin(
        "from settings.clean import Clean\nclass Common(Clean): pass\nclass Mine(Common): pass\nclass _O: pass"
    )
    with plugged_in([both]):
        assert SETTINGS.load("mine").__name__ == "Mine"


@pytest.mark.usefixtures("entry_point")
def test_entry_points() -> None:
    assert "noisy" in SETTINGS.names()
    assert SETTINGS.names().count("clean") == 1
    assert SETTINGS.load("noisy") is Clean
    assert SETTINGS.load("clean") is Clean, "our own file comes first"
    assert "noisy" not in DATASETS.names()


def test_a_package_that_is_not_there_has_no_components() -> None:
    assert Registry("cues", "methods.no_such_package", "Cue").names() == ()
