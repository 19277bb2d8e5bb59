"""Maps of mask values, as they are written on the command line and in suites."""

import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from settings.errors import UserError
from settings.value_maps import ValueMap, lookup_table, parse_value_map, value_map_text

OPTION = TypeAdapter(ValueMap)


def test_forms() -> None:
    assert parse_value_map("1:0, 0:255,", "--map") == {0: 255, 1: 0} and parse_value_map(None, "--map") == {}
    # 255:1 by itself is a number of seconds in YAML.
    for text in ("{255: 1}", "255:1", "'255:1'"):
        assert OPTION.validate_python(yaml.safe_load(text)) == {255: 1}
    assert OPTION.validate_python(yaml.safe_load("0:255,1:0")) == {0: 255, 1: 0}
    assert value_map_text({1: 0, 0: 255}) == "0:255,1:0"


@pytest.mark.parametrize("text", ["1", "1:", "1:256", "-1:0", "a:b", "1:0:2", "1=0", "1:0 2:1", "²:1", "1:0000"])
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"--map: found '.*'; expected pairs FOUND:MEANT"):
        parse_value_map(text, "--map")


@pytest.mark.parametrize("given", [5, True, None, 1.5, [1], {"a": 1}])
def test_other_options_are_refused(given: object) -> None:
    with pytest.raises(ValidationError, match="pairs FOUND:MEANT"):
        OPTION.validate_python(given)


def test_a_value_twice() -> None:
    with pytest.raises(UserError, match="expected each value once; 1 is named twice"):
        parse_value_map("1:0,1:2", "--map")


def test_values_that_are_not_named_stay() -> None:
    table = lookup_table({255: 1, 1: 255})
    assert table[np.array([[0, 1], [2, 255]])].tolist() == [[0, 255], [2, 1]] and table.dtype == np.uint8
