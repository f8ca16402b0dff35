from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compactmtl.report import numbers
from compactmtl.report.html import Html, facts, h, join, missing, table


class Reader(HTMLParser):
    """Collects the tags and the text of a fragment."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


@given(st.text())
def test_plain_text_never_becomes_markup(text):
    page = Reader(h("p", text, title=text))
    assert page.tags == ["p"]
    assert page.text.replace("\r\n", "\n").replace("\r", "\n") == text.replace(
        "\r\n", "\n"
    ).replace("\r", "\n")


def test_the_oracle_sees_an_unescaped_tag():
    assert Reader(h("p", Html("<script>x</script>"))).tags == ["p", "script"]


def test_html_stays_html_and_none_vanishes():
    assert join([h("b", "x"), None, "<"]) == "<b>x</b>&lt;"
    assert h("img", src="a b", alt=None) == '<img src="a b">'


def test_tables_and_facts_escape_their_cells():
    page = table(("<i>",), [("<b>",)]) + facts({"<u>": {"<s>": "<q>"}}) + missing("<em>", "<code>")
    assert not {"i", "b", "u", "s", "q", "em"} & set(Reader(page).tags)


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        (numbers.count, 1_234_567, "1.23 M"),
        (numbers.count, 999, "999"),
        (numbers.count, 0, "0"),
        (numbers.count, 402_114_560, "402 M"),
        (numbers.count, None, numbers.DASH),
        (numbers.size, 12_590_000, "12.6 MB"),
        (numbers.size, 52_700, "52.7 kB"),
        (numbers.milliseconds, 0.0123, "0.012"),
        (numbers.milliseconds, 41.24, "41.2"),
        (numbers.ratio, 3.14159, f"3.14{numbers.TIMES}"),
        (numbers.metric, float("nan"), numbers.DASH),
        (numbers.metric, 0.51234, "0.5123"),
        (numbers.error, 2.34e-7, "2.3e-7"),
        (numbers.error, 0.0, "0"),
        (numbers.anything, [1, 3, 96, 128], "1\u00d73\u00d796\u00d7128"),
        (numbers.anything, [], numbers.DASH),
        (numbers.anything, {"a": True, "b": None}, f"a yes, b {numbers.DASH}"),
        (numbers.anything, "text", "text"),
    ],
)
def test_numbers(form, value, text):
    assert form(value) == text


def test_shares_and_ratios_of_nothing_are_a_dash():
    assert numbers.share(1, 0) == numbers.DASH
    assert numbers.share(1, 4) == "25.0 %"
    assert numbers.divided(1.0, 0.0) is None
