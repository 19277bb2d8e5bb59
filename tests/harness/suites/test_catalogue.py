"""The list of components and their options, read off what they declare."""

from pathlib import Path

import pytest

from harness.suites.catalogue import OptionEntry, catalogue, described_component, to_lines
from settings.discovery import REGISTRIES
from settings.errors import UserError
from settings.plugins import Plugin, plugged_in

MINE = '''
from typing import Literal
from methods.base import Field, LocalizationMaps, Localizer, Options, TrainingOptions

class MineOptions(Options):
    rule: Literal["a", "b"] = "b"
    power: float = Field(1.0, gt=0, le=10, description="exponent of the maps")
    sizes: tuple[int, ...] = (1, 2)
    count: int | None = None
    root: str
    training: TrainingOptions = TrainingOptions(epochs=3)

class Mine(Localizer):
    """Does nothing."""

    options_model, apply_options = MineOptions, frozenset({"power"})

    def apply(self, photos, surroundings):
        yield from ()
'''


def test_every_component_is_in_the_list() -> None:
    entries = catalogue()
    every = {(kind, name) for kind, registry in REGISTRIES.items() for name in registry.names()}
    assert {(entry.kind, entry.name) for entry in entries} == every
    assert all(entry.about and "cannot be used" not in entry.about for entry in entries)
    lines = list(to_lines(entries))
    assert len(lines) == len(entries) + len(REGISTRIES)
    assert max(map(len, lines)) < 160
    assert (
        next(line for line in lines if line.startswith("  cam ")).split(None, 1)[1].startswith("Class activation maps")
    )


@pytest.mark.parametrize("name", sorted({entry.name for entry in catalogue()}))
def test_every_option_of_every_component_is_told(name: str) -> None:
    for entry, options in described_component(name):
        model = REGISTRIES[entry.kind].load(name).options_model
        assert {option.name.partition(".")[0] for option in options} == set(model.model_fields)
        assert all(option.type and "<" not in option.type.replace("< ", "") for option in options)


def test_options_have_types_bounds_and_defaults_in_the_words_of_yaml(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    with plugged_in([Plugin.read(tmp_path / "mine.py")]):
        ((entry, options),) = described_component("mine")
    assert entry == ("localizers", "mine", "Does nothing.")
    assert options[:5] == [
        OptionEntry("rule", "a | b", "b", ""),
        OptionEntry("power", "number, > 0, ≤ 10", "1.0", "exponent of the maps", True),
        OptionEntry("sizes", "list of whole number", "[1, 2]", ""),
        OptionEntry("count", "whole number | null", "null", ""),
        OptionEntry("root", "text", "", ""),
    ]
    by_name = {option.name: option for option in options}
    # The component's own default, where the mapping's is another one.
    assert by_name["training.epochs"].default == "3" and by_name["training.nesterov"].default == "true"


def test_a_name_that_is_written_almost_right_is_proposed() -> None:
    with pytest.raises(UserError, match=r"unknown component 'coattenton'; .*did you mean 'coattention'\?"):
        described_component("coattenton")


def test_entries_of_a_mapping_that_may_be_left_out_are_told() -> None:
    ((_, options),) = described_component("cam")
    by_name = {option.name: option for option in options}
    assert (by_name["inputs"].type, by_name["inputs"].default) == ("mapping | null", "null")
    assert by_name["inputs.crop"].type == "whole number, ≥ 33, ≤ 2049"
    assert by_name["inputs.jitter.hue"].default == "0.0"
    assert by_name["aspect"].apply_only and not by_name["inputs.crop"].apply_only
