"""The registries find components by file and by entry point, and import only what is named."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

import settings.discovery
from settings.clean import Clean
from settings.discovery import DATASETS, LABELERS, LOCALIZERS, REFINERS, SEGMENTERS, SETTINGS, Registry
from settings.errors import UserError


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


@pytest.mark.usefixtures("entry_point")
def test_entry_points() -> None:
    assert "noisy" in SETTINGS.names()
    assert SETTINGS.names().count("clean") == 1
    assert SETTINGS.load("noisy") is Clean
    assert SETTINGS.load("clean") is Clean, "our own file comes first"
    assert "noisy" not in DATASETS.names()


def test_a_package_that_is_not_there_has_no_components() -> None:
    assert Registry("cues", "methods.no_such_package", "Cue").names() == ()
