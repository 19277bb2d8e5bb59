"""Texts of others in Markdown: shown as they are, never obeyed."""

import pytest

from results.shown import Table, code, markdown


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("<img src=x onerror=f()>", r"\<img src=x onerror=f()>"),
        ("[a](http://b) ![c][d]", r"[a]\(http://b) ![c]\[d]"),
        ("[a]: http://b", r"[a]\: http://b"),
        ("*a* _b_ `c` ~~d~~ e|f", r"\*a\* \_b\_ \`c\` \~\~d\~\~ e\|f"),
        ("&lt; R&D", r"\&lt; R&D"),
        ("## a\n# b", r"\## a # b"),
        ("1. a", r"1\. a"),
        ("- a", r"\- a"),
    ],
)
def test_markup_is_escaped(text: str, escaped: str) -> None:
    assert markdown(text) == escaped


@pytest.mark.parametrize("text", ["pseudo_labels", "0.278 [1]", "+0.248° better", "-0.3", "few-shot(4) †", "cam+irn"])
def test_what_is_no_markup_stays(text: str) -> None:
    assert markdown(text) == text


def test_code_ends_where_it_is_meant_to() -> None:
    assert [code("a"), code("a`b"), code("`a``")] == ["`a`", "``a`b``", "``` `a`` ```"]


def test_every_part_of_a_table_is_escaped() -> None:
    table = Table("<a>", ("<b>",), (("<c>|",),), ("<d>",), common="<e>")
    assert table.to_markdown() == "\n\n".join([r"## \<a>", r"\<e>", "| \\<b> |\n| --- |\n| \\<c>\\| |", r"- \<d>"])
