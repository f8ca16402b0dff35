"""The frame of a page: one file that fetches nothing."""

from plotly.offline import get_plotlyjs

from compactmtl.report.html import Html, h
from compactmtl.report.style import CSS


def shell(title: str, *body: str) -> str:
    """Return a whole page as HTML text, with styles and plotly's script inside."""
    head = h(
        "head",
        h("meta", charset="utf-8"),
        h("meta", name="viewport", content="width=device-width, initial-scale=1"),
        h("title", title),
        h("style", Html(CSS)),
        h("script", Html(get_plotlyjs())),
    )
    return f"<!doctype html>\n{h('html', head, h('body', *body), lang='en')}\n"
