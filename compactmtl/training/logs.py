"""The run's own logs: `log.jsonl` (one object per epoch) and `log.csv` (the same, flat)."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compactmtl.errors import CorruptFileError
from compactmtl.files import read_error, write_text

JSONL, CSV = "log.jsonl", "log.csv"

LOGGED = (
    *("seconds", "waited", "lr", "lam", "threshold", "gradient_rms", "cost"),
    *("loss", "val", "weights", "sparsity", "m_reach"),
)
"""The part of a record that other loggers get too."""

_REPEATS = "it only repeats the checkpoint: `compactmtl train --resume RUN` writes it again"

Record = dict[str, Any]


def write_logs(folder: Path, history: Sequence[Record]) -> None:
    """Write both logs from the run's whole history.

    They are rewritten, not appended to, so that they never disagree with the checkpoint after a
    kill between the two.
    """
    lines = [json.dumps(finite(record), allow_nan=False) + "\n" for record in history]
    write_text(folder / JSONL, "".join(lines))
    rows = [flatten(record) for record in history]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / CSV, text.getvalue())


def read_log(folder: Path) -> list[Record]:
    """Read `log.jsonl`; empty where no epoch is finished.

    Raises:
        MissingFileError: It is not readable.
        CorruptFileError: A line is not a JSON object.
    """
    path = folder / JSONL
    if not path.is_file():
        return []
    records = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise CorruptFileError(f"`{path}` is not text: {error}", hint=_REPEATS) from error
    except OSError as error:
        raise read_error(path, error) from error
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CorruptFileError(
                f"`{path}` line {number} is not JSON: {error}", hint=_REPEATS
            ) from error
        if not isinstance(record, dict):
            raise CorruptFileError(f"`{path}` line {number} is not an object", hint=_REPEATS)
        records.append(record)
    return records


def flatten(record: Mapping[str, Any], prefix: str = "") -> Record:
    """Return nested records as one level, as in ``{"val/seg/miou": 0.4}``; without None."""
    flat: Record = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}/")
        elif value is not None:
            flat[prefix + key] = value
    return flat


def finite(value: object) -> object:
    """Return JSON data with NaN and Inf, which JSON lacks, as None."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
