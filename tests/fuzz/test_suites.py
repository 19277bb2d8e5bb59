"""Suites that nobody should write: a plan, or one line; nothing is written either way."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.judging import DAMAGE, Damage, damaged, folder, names_in, seedbed, share

BASE: dict[str, Any] = {
    "dataset": {"name": "scenes", "classes": 2, "size": 48, "train": 4, "dev": 2, "val": 2},
    "recipes": {"cam": {"localizer": "cam", "labeler": "threshold", "segmenter": "deeplab"}},
    "combine": {"localizers": {"other": "cam"}, "refiners": {"none": []}, "labelers": {"t": {"labeler": "threshold"}}},
    "references": ["all-background"],
    "backbone": {"name": "test_efficientnet", "weights": "random", "size": 64},
}
PATHS = [
    *("name", "description", "include", "rng_seeds", "settings", "references", "policies", "report", "gallery"),
    *("training_mode", "compute", "compute.threads", "overrides", "dataset", "dataset.name", "dataset.size"),
    *("dataset.classes", "dataset.data_seed", "dataset.root", "dataset.clutter", "dataset.part_size", "backbone"),
    *("backbone.size", "backbone.weights", "backbone.output_stride", "backbone.name", "recipes", "recipes.cam"),
    *("recipes.cam.localizer", "recipes.cam.localizer.training", "recipes.cam.localizer.training.epochs"),
    *("recipes.cam.localizer.training.learning_rate", "recipes.cam.labeler", "recipes.cam.labeler.threshold"),
    *("recipes.cam.segmenter.width", "recipes.cam.segmenter.atrous_rates", "recipes.../x", "recipes.cam.reveal"),
    *("combine", "combine.localizers", "combine.localizers.other", "combine.refiners", "combine.refiners.none"),
    *("combine.labelers", "combine.labelers.t", "combine.labelers.t.labeler", "recipes.other.labeler"),
    *("unknown", "dataset.unknown", "recipes.cam.unknown", "", ".", "\x1b[2J", "recipes.cma.labeler"),
]
VALUES = [
    *("null", "true", "''", "-1", "0", "1", "2", "0.5", "33", "1000000000", "9223372036854775808", "1e400", ".nan"),
    *(".inf", "-.inf", "2001-01-01", "2001-99-99", "1:2:3", "0b2", "0x" + "f" * 5000, "9" * 5000, "!!int x"),
    *("!!bool x", "!!float x", "!!timestamp x", "!!binary aGk=", "!!binary '*'", "!!set {a}", "!!omap [a: 1]"),
    *("!!map a", "!!seq a", "!!null 3", "!!python/object/apply:os.system [ls]", "!!python/name:os.system ''"),
    *("[]", "{}", "[[]]", "[null]", "{1: 2, a: 3}", "{? [a] : b}", "{a: 1, a: 2}", "[" * 300, "[" * 5000, "{a: " * 500),
    *("*a", "&a [1]", "&a [*a]", "{<<: {a: 1}}", "../../x", "/etc/passwd", "a" * 300, "a" * 9000, "~nobody/x"),
    *(
        '"a\\0b"',
        '"\\ud800"',
        '"\\e[2J"',
        '"\\u202e"',
        "'${HOME'",
        "'${SEEDBED_NOWHERE}'",
        "'${HOME}'",
        "cam",
        "scenes",
    ),
    *("folder", "voc12", "threshold", "all_background", "[clean]", "[clean, clean]", "[0, 1]", "[0, 0]", "[1.5]"),
    *("{name: cam, training: 3}", "{name: null}", "{name: scenes, options: 3}", "{fixed: maps}", "{best: maps}", "all"),
]
VALUE = st.one_of(st.sampled_from(VALUES), st.integers().map(str), st.text(max_size=12))


def text_of(changes: list[tuple[str, str]]) -> str:
    """The base suite as YAML (JSON is YAML), with raw texts in the places of values."""
    content = json.loads(json.dumps(BASE))
    for number, (path, _) in enumerate(changes):
        *parents, last = path.split(".")
        place = content
        for key in parents:
            if not isinstance(place.get(key), dict):
                place[key] = {"name": place[key]} if isinstance(place.get(key), str) else {}
            place = place[key]
        place[last] = f"@{number}@"
    text = json.dumps(content)
    for number, (_, value) in enumerate(changes):
        text = text.replace(f'"@{number}@"', value)
    return text


CHANGES = st.lists(st.tuples(st.sampled_from(PATHS), VALUE), min_size=1, max_size=2)


def planned(content: bytes, overrides: list[str]) -> int:
    with folder() as root:
        (root / "mine.yaml").write_bytes(content)
        options = [part for override in overrides for part in ("--set", override)]
        ended = seedbed("plan", root / "mine.yaml", "--store", root / "store", "--json", *options)
        assert names_in(root) == {"mine.yaml"}
        if ended.code == 0:
            shown = json.loads(ended.out)
            assert shown["to_do"] == shown["stages"] > 0
        return ended.code


def test_the_base_is_a_suite() -> None:
    assert planned(json.dumps(BASE).encode(), []) == 0


@given(changes=CHANGES)
@share(0.08)
def test_values_in_the_file(changes: list[tuple[str, str]]) -> None:
    planned(text_of(changes).encode("utf-8", "surrogatepass"), [])


@given(changes=CHANGES)
@share(0.08)
def test_overrides(changes: list[tuple[str, str]]) -> None:
    planned(json.dumps(BASE).encode(), [f"{path}={value}" for path, value in changes])


@given(damage=DAMAGE, codec=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]))
@share(0.04)
def test_damaged_files(damage: Damage, codec: str) -> None:
    planned(damaged(json.dumps(BASE, indent=1).encode(codec), damage), [])


@given(
    name=st.one_of(
        st.sampled_from(["a" * 300 + ".yaml", "a\0.yaml", "..", "/", "", "\udcff.yaml"]), st.text(max_size=9)
    )
)
@share(0.02)
def test_names(name: str) -> None:
    with folder() as root:
        if not name.startswith("-"):
            assert seedbed("plan", name, "--store", root / "store").code == 2
