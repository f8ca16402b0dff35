"""Validation samples for data sets whose published split has none."""

from compactmtl.errors import UsageError


def check_val_share(dataset: str, val_share: float) -> None:
    """Refuse a share that is not within 0 to 0.5.

    Raises:
        UsageError: It is not.
    """
    if not 0 <= val_share <= 0.5:
        raise UsageError(f"data set `{dataset}`: val_share (={val_share}) must be 0 to 0.5")


def training_part(number: int, split: str, val_share: float) -> list[int]:
    """Return which of ``number`` training samples are "train" and which "val".

    Every n-th is "val", from the first on, so that it is spread evenly over the data set.

    Args:
        number: Published training samples.
        split: "train" or "val".
        val_share: Share of "val"; with 0 all are "train".
    """
    if val_share == 0:
        return list(range(number)) if split == "train" else []
    step = round(1 / val_share)
    return [index for index in range(number) if (index % step == 0) == (split == "val")]
