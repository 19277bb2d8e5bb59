"""Components as users name them: one builder for all of them, and one form in which stages carry them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from methods.base import TrainingOptions
from settings.components import ComponentSpec, build_component, normalised
from settings.discovery import DATASETS, FILTERS, REGISTRIES, SETTINGS
from settings.errors import UserError
from settings.filters.classifier import Agreement
from settings.options import Options

COMPONENTS = [(registry, name) for registry in REGISTRIES.values() for name in registry.names()]


def spec(content: Any) -> ComponentSpec:
    return ComponentSpec.model_validate(content)


def test_a_component_is_built_by_role_or_registry_from_a_suite_or_a_key() -> None:
    written = spec({"name": "classifier", "rule": "threshold", "threshold": 0.25})
    in_a_key = {"role": "filter", "version": 1, "name": "classifier", "options": written.options}
    for kind in ("filter", FILTERS):
        for component in (written, in_a_key):
            built = build_component(kind, component, "here")
            assert type(built) is Agreement
            assert (built.options.rule, built.options.threshold) == ("threshold", 0.25)


def test_what_a_suite_leaves_out_of_options_that_belong_together_is_as_the_component_has_it() -> None:
    """A stage carries options whole: what its key leaves out (SGD) is nobody's default."""
    written = spec({"name": "deeplab", "training": {"epochs": 2}})
    assert build_component("segmenter", written, "here").options.training == TrainingOptions(
        epochs=2, batch=8, learning_rate=0.15
    )
    by_sgd = build_component("pretraining", spec({"name": "loca", "training": {"optimizer": "sgd"}}), "here")
    carried = {"name": "loca", "options": by_sgd.options.model_dump(mode="json")}
    assert build_component("pretraining", carried, "here").options == by_sgd.options
    assert by_sgd.options.training.optimizer == "sgd"
    assert build_component("pretraining", spec("loca"), "here").options.training.optimizer == "adamw"


def test_mistakes_name_the_place() -> None:
    with pytest.raises(UserError, match=r"^here: found unknown filter 'clasifier'; .* did you mean 'classifier'\?$"):
        build_component("filter", spec("clasifier"), "here")
    with pytest.raises(UserError, match=r"^here\.treshold: found unknown key 'treshold'; .* 'threshold'\?$"):
        build_component("filter", spec({"name": "classifier", "treshold": 1}), "here")


@pytest.mark.parametrize(
    "written",
    [
        {"source": "scenes", "filter": "none"},
        {"source": {"name": "scenes"}, "filter": {"name": "none"}},
        {"source": {"name": "scenes", "options": {}}, "filter": {"name": "none", "options": {}}},
    ],
)
def test_a_component_among_options_has_one_form_however_it_was_written(written: dict[str, Any]) -> None:
    expected = {"source": {"name": "scenes", "options": {}}, "filter": {"name": "none", "options": {}}}
    found = normalised(SETTINGS, spec({"name": "web", **written}), "settings.web")
    assert found.model_dump() == {"name": "web", "options": expected}
    assert normalised(SETTINGS, found, "settings.web") == found


def test_options_that_were_not_given_stay_away() -> None:
    written = {"name": "web", "source": {"name": "scenes", "size": 64}, "stage_2": True}
    options = {"source": {"name": "scenes", "options": {"size": 64}}, "stage_2": True}
    assert normalised(SETTINGS, spec(written), "settings.web").options == options
    assert normalised(DATASETS, spec("scenes"), "dataset").options == {}


def test_places_are_absolute_at_any_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    web = normalised(SETTINGS, spec({"name": "web", "source": {"name": "folder", "root": "~/more"}}), "settings.web")
    assert web.options["source"]["options"] == {"root": str(tmp_path / "home" / "more")}
    folder = normalised(DATASETS, spec({"name": "folder", "root": "photos"}), "dataset")
    assert folder.options == {"root": str(tmp_path / "photos")}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("scenez", r"^settings\.web\.source: found unknown source 'scenez'.*'scenes'\?$"),
        ({"name": "scenes", "siez": 3}, r"^settings\.web\.source\.siez: found unknown key.*'size'\?$"),
        ({"name": "scenes", "size": "large"}, r"^settings\.web\.source\.size: found 'large'; expected a whole number$"),
    ],
)
def test_a_mistake_in_a_nested_component_names_the_option(source: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        normalised(SETTINGS, spec({"name": "web", "source": source}), "settings.web")


def fields_of(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """The fields of a model and of all models in it."""
    for name, field in model.model_fields.items():
        yield name, field
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, Options):
                yield from fields_of(part)


@pytest.mark.parametrize(("registry", "name"), COMPONENTS, ids=lambda each: getattr(each, "kind", each))
def test_every_option_that_is_a_path_is_made_absolute(registry: Any, name: str) -> None:
    for option, field in fields_of(registry.load(name).options_model):
        if "Path" not in str(field.annotation):
            continue
        written = {"a": "x/y"} if "dict" in str(field.annotation) else "x/y"
        found = TypeAdapter(Annotated[field.annotation, field]).validate_python(written)
        path = found["a"] if isinstance(found, dict) else found
        assert path == Path("x/y").absolute(), f"{registry.kind}: {name}.{option}"
