"""HTML from Python in which plain text can never become markup."""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from compactmtl.report import numbers

VOID = frozenset({"img", "br", "meta"})


class Html(str):
    """Text that is HTML already; any other string is escaped where it meets HTML."""

    __slots__ = ()


def h(tag: str, *children: str | None, **attributes: str | None) -> Html:
    """Return an element; ``class_`` and ``data_x`` become ``class`` and ``data-x``."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if tag in VOID:
        return Html(f"<{tag}{given}>")
    return Html(f"<{tag}{given}>{join(children)}</{tag}>")


def join(children: Iterable[str | None]) -> Html:
    """Return children one after the other, each escaped unless it is HTML already."""
    return Html(
        "".join(
            child if isinstance(child, Html) else html.escape(child)
            for child in children
            if child is not None
        )
    )


def section(title: str, *children: str | None, lead: str | None = None) -> Html:
    """Return a card with a heading that can be linked to."""
    return h(
        "section",
        h("h2", title),
        h("p", lead, class_="lead") if lead else None,
        *children,
        id=anchor(title),
    )


def anchor(title: str) -> str:
    """Return the name a heading is linked by."""
    return "-".join(title.lower().split())


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, class_: str = "") -> Html:
    """Return a table; the first column is text, the others are numbers.

    Args:
        columns: Headings.
        rows: Cells.
        class_: "text" where the other columns hold text as well.
    """
    head = h("tr", *(h("th", column, scope="col") for column in columns))
    body = [
        h("tr", h("th", row[0], scope="row"), *(h("td", cell) for cell in row[1:])) for row in rows
    ]
    whole = h("table", h("thead", head), h("tbody", *body), class_=class_ or None)
    return h("div", whole, class_="scroll")


def facts(document: Mapping[str, Any]) -> Html:
    """Return nested JSON data as a list of names and values."""
    rows = [
        h("div", h("dt", name.replace("_", " ")), h("dd", numbers.anything(value)))
        for name, value in flatten(document)
    ]
    return h("dl", *rows, class_="facts")


def flatten(document: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return the leaves of nested tables with their dotted names."""
    leaves: list[tuple[str, Any]] = []
    for key, value in document.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            leaves += flatten(value, f"{name} · ")
        else:
            leaves.append((name, value))
    return leaves


def missing(sentence: str, command: str | None = None) -> Html:
    """Return a sentence that says what is not there, and the command that makes it."""
    code = (Html(" "), h("code", command)) if command else ()
    return h("p", sentence, *code, class_="missing")


def listing(sentences: Sequence[str]) -> Html | None:
    """Return sentences as a list, or nothing."""
    return (
        h("ul", *(h("li", sentence) for sentence in sentences), class_="notes")
        if sentences
        else None
    )
