"""ONNX Runtime's Python tools, without what they log and warn; what they raise comes through."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

import onnxruntime

WARNING, FATAL = 2, 4
"""ONNX Runtime's levels; the first is its default."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep logs and warnings away while the block runs, and leave logging as it was.

    The tools log through the root logger, whose first use installs a handler for good.
    """
    root = logging.getLogger()
    before, handlers = root.manager.disable, list(root.handlers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            logging.disable(logging.CRITICAL)
            # The calibrator's own session takes no options; what fails in it is raised.
            onnxruntime.set_default_logger_severity(FATAL)
            yield
        finally:
            onnxruntime.set_default_logger_severity(WARNING)
            logging.disable(before)
            root.handlers[:] = handlers
