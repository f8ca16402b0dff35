"""TensorRT's messages. A process has one logger: a second one is ignored, so it fans out."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from compactmtl.board.bindings import Bindings

Message = tuple[str, str]
"""Severity (``ERROR``, ``WARNING``, ...) and text."""

_loggers: dict[str, Any] = {}
_listeners: dict[str, list[list[Message]]] = {}


def process_logger(bindings: Bindings) -> Any:
    """Return the one logger of this process for a flavour."""
    flavour = bindings.flavour
    listeners = _listeners.setdefault(flavour, [])
    if flavour not in _loggers:

        def log(self: Any, severity: Any, text: str) -> None:
            if severity.name not in ("INFO", "VERBOSE"):
                for messages in listeners:
                    messages.append((severity.name, text))

        # The class that it must inherit from is known only once TensorRT is imported.
        _loggers[flavour] = type("Logger", (bindings.module.ILogger,), {"log": log})()
    return _loggers[flavour]


@contextmanager
def listen(bindings: Bindings) -> Iterator[list[Message]]:
    """Yield a list that fills with what TensorRT says while the block runs."""
    process_logger(bindings)
    messages: list[Message] = []
    _listeners[bindings.flavour].append(messages)
    try:
        yield messages
    finally:
        # By identity: two lists with the same messages are equal.
        _listeners[bindings.flavour][:] = [
            each for each in _listeners[bindings.flavour] if each is not messages
        ]
