from pathlib import Path

import pytest

from benchmarks.architecture import LAYERS, Room, arrows, draw, room_of, rooms, upward
from benchmarks.house import Source

SOURCES = [
    Source("harness", "from harness.api import run\n", is_package=True),
    Source("harness.api", "import harness.reports.table\n"),
    Source("harness.reports", "", is_package=True),
    Source(
        "harness.reports.table", "from harness.store import layout\nfrom results import rows\nfrom settings import a\n"
    ),
    Source("harness.reports.plot", "import settings.a\nimport settings.b\nimport harness.reports.table\n"),
    Source("harness.store", "", is_package=True),
    Source("harness.store.layout", "def late():\n    from harness.reports.table import x\n"),
    Source("results.rows", "import settings.a\n"),
    Source("settings.a", "x = 1\n"),
    Source("settings.b", ""),
]


@pytest.mark.parametrize(
    ("module", "room"),
    [
        ("harness", "api"),
        ("harness.api", "api"),
        ("harness.store.backends.urls", "store"),
        ("methods.networks.seam", "methods"),
        ("settings", "settings"),
    ],
)
def test_a_room_is_a_folder_of_the_harness_or_a_package(module: str, room: str):
    assert room_of(module) == room


def test_rooms_stand_from_top_to_bottom_with_their_sizes():
    layer = {name: index for index, names in enumerate(LAYERS) for name in names}
    assert rooms(SOURCES) == [
        Room("api", layer["api"], 2, 2),
        Room("reports", layer["reports"], 3, 6),
        Room("store", layer["store"], 2, 2),
        Room("results", layer["results"], 1, 1),
        Room("settings", layer["settings"], 2, 1),
    ]


def test_an_arrow_counts_the_imports_of_modules_between_two_rooms():
    assert arrows(SOURCES) == {
        ("api", "reports"): 1,
        ("reports", "store"): 1,
        ("reports", "results"): 1,
        ("reports", "settings"): 3,
        ("results", "settings"): 1,
        ("store", "reports"): 1,
    }


def test_what_leads_upwards_is_named():
    assert upward(arrows(SOURCES)) == [("store", "reports")]
    assert upward({("pictures", "inspection"): 2, ("pictures", "reports"): 1}) == [("pictures", "inspection")]


def test_a_folder_without_a_layer_is_refused():
    with pytest.raises(ValueError, match="no layer for attic"):
        rooms([*SOURCES, Source("harness.attic", "", is_package=True)])


def test_the_same_code_gives_the_same_picture(tmp_path: Path):
    for name in ("one.svg", "two.svg"):
        draw(SOURCES, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert (tmp_path / "one.svg").read_text().startswith("<?xml")
