"""ONNX Runtime's Python tools, without what they log and warn; what they raise comes through."""

import contextlib
import logging
import warnings
from collections.abc import Iterator


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
            yield
        finally:
            logging.disable(before)
            root.handlers[:] = handlers
