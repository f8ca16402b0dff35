"""Checks of the arguments that data sets share."""

from compactmtl.errors import UsageError

SPLITS = ("train", "val", "test")


def check_split(dataset: str, split: str) -> None:
    """Refuse a split that does not exist.

    Raises:
        UsageError: ``split`` is not one of ``SPLITS``.
    """
    if split not in SPLITS:
        raise UsageError(
            f"data set `{dataset}` has no split {split!r}", hint=f"there are: {', '.join(SPLITS)}"
        )


def check_at_least(dataset: str, least: int, **values: object) -> None:
    """Refuse arguments that are not whole numbers from ``least`` on.

    Raises:
        UsageError: A value is of another type or too small.
    """
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise UsageError(
                f"data set `{dataset}`: `{name}` is {value!r}, "
                f"expected a whole number from {least} on"
            )
