"""What an exporter needs to know of a model beside its program."""

from typing import Any, Protocol


class Interface(Protocol):
    """Names and tasks; ``compactmtl.compact.Manifest`` has them."""

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs, in call order."""

    @property
    def output_names(self) -> list[str]:
        """Names of the flattened outputs, in order: the tasks."""

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        """Task name to what rebuilds the task; an output need not be a task."""
