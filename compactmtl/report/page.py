"""The whole page as one file: no script, style, font or picture from elsewhere."""

from compactmtl.report.accuracy import metrics_section, predictions_section
from compactmtl.report.collect import Record
from compactmtl.report.compression import channels_section, cost_section, exactness_section
from compactmtl.report.headline import header
from compactmtl.report.history import environment_section, origin_section, training_section
from compactmtl.report.html import anchor, h
from compactmtl.report.layer_costs import TITLE as LAYER_COSTS
from compactmtl.report.layer_costs import layer_costs_section
from compactmtl.report.roofline import TITLE as ROOFLINE
from compactmtl.report.roofline import roofline_section
from compactmtl.report.samples import Predictions
from compactmtl.report.shell import shell
from compactmtl.report.streams import TITLE as STREAMS
from compactmtl.report.streams import streams_section
from compactmtl.report.tradeoff import TITLE as TRADEOFF
from compactmtl.report.tradeoff import tradeoff_section

TITLES = (
    "Accuracy",
    "Predictions",
    "Cost and latency",
    TRADEOFF,
    LAYER_COSTS,
    ROOFLINE,
    "Channels",
    STREAMS,
    "Training",
    "Exactness",
    "Origin",
    "Environment",
)


def render(record: Record, predictions: Predictions) -> str:
    """Return the page as HTML text."""
    sections = (
        metrics_section(record, predictions),
        predictions_section(predictions),
        cost_section(record),
        tradeoff_section(record, predictions),
        layer_costs_section(record),
        roofline_section(record),
        channels_section(record),
        streams_section(record),
        training_section(record, predictions),
        exactness_section(record),
        origin_section(record),
        environment_section(record),
    )
    links = [h("a", title, href=f"#{anchor(title)}") for title in TITLES]
    return shell(
        f"{record.title} · compactmtl report",
        header(record),
        h("nav", *links),
        h("main", *sections),
        h("footer", "Written by compactmtl report."),
    )
