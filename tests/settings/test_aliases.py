"""Names that mean a class: case, separators, the table, and what a suite adds."""

import pytest

from settings.aliases import Aliases
from settings.errors import UserError
from settings.records import LabelSpace

VOC = LabelSpace(("aeroplane", "cat", "diningtable", "tvmonitor", "person"))


@pytest.mark.parametrize(
    ("name", "class_id"),
    [("cat", 1), ("CAT", 1), ("airplane", 0), ("plane", 0), ("Dining Table", 2), ("dining_table", 2), ("tv", 3)],
)
def test_names_mean_classes(name: str, class_id: int) -> None:
    assert Aliases().class_id(name, VOC, "here") == class_id


def test_a_suite_adds_names() -> None:
    assert Aliases({"cat": ("Felis catus",)}).find("felis-catus", VOC) == 1
    assert Aliases().find("felis-catus", VOC) is None


def test_a_class_of_the_very_name_comes_before_an_alias() -> None:
    space = LabelSpace(("person", "man"))
    assert Aliases().find("man", space) == 1


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'person'"):
        Aliases().class_id("persn", VOC, "tree")
