"""From a compact folder and its run to one self-contained HTML page."""

from compactmtl.report.write import report

__all__ = ["report"]
