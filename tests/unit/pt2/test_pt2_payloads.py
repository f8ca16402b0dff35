"""Tensors that are not what is declared about them are refused."""

import json

import pytest

from compactmtl.errors import (
    CorruptFileError,
    UnsafeFileError,
)
from compactmtl.pt2.archive import CONSTANTS, PROGRAM, WEIGHTS, write_entries
from compactmtl.pt2.payloads import check_payloads

Entries = dict[str, bytes]


def first(document: dict, **change: object) -> None:
    document["config"]["conv.weight"]["tensor_meta"].update(change)


def ints(*values: int) -> list[dict[str, int]]:
    return [{"as_int": value} for value in values]


def test_honest_tables_pass(entries):
    """The oracle of this file: unchanged tables are accepted."""
    table = json.loads(entries[WEIGHTS])
    declared = check_payloads(table, entries, "data/weights/", "m.pt2")
    assert declared["conv.weight"] == (7, [8, 3, 3, 3])


@pytest.mark.parametrize(
    "change",
    [
        {"sizes": ints(9, 3, 3, 3)},
        {"sizes": ints(8, 3, 3, 2)},
        {"sizes": ints(8, 3, 3)},
        {"sizes": ints(-8, 3, 3, 3)},
        {"sizes": ints(2**60, 3, 3, 3)},
        {"sizes": [{"as_expr": {"expr_str": "s0", "hint": None}}] * 4},
        {"strides": ints(27, 9, 3, 2)},
        {"strides": ints(0, 0, 0, 0), "sizes": ints(10**9, 10**9, 1, 1)},
        {"storage_offset": {"as_int": 5}},
        {"dtype": 8},
        {"dtype": 6},
        {"dtype": 99},
        {"dtype": [7]},
        {"layout": 1},
        {"device": {"type": "cuda", "index": 0}},
        {"requires_grad": "yes"},
        {"more": 1},
    ],
    ids=str,
)
def test_weight_that_differs_from_its_bytes_is_corrupt(entries, tmp_path, change, refused, edited):
    bad = edited(entries, WEIGHTS, lambda d: first(d, **change))
    refused(write_entries(bad), tmp_path, CorruptFileError, r"conv\.weight|weight_0")


def test_short_weight_is_corrupt(entries, tmp_path, refused):
    entries["data/weights/weight_0"] = entries["data/weights/weight_0"][:-4]
    refused(write_entries(entries), tmp_path, CorruptFileError, "860 bytes.*864")


def test_missing_weight_is_corrupt(entries, tmp_path, refused):
    del entries["data/weights/weight_0"]
    refused(write_entries(entries), tmp_path, CorruptFileError, "weight_0")


def test_graph_that_disagrees_with_the_weights_is_corrupt(entries, tmp_path, refused, edited):
    def change(document: dict) -> None:
        values = document["graph_module"]["graph"]["tensor_values"]
        values["p_conv_weight"]["sizes"] = ints(8, 3, 5, 5)

    refused(write_entries(edited(entries, PROGRAM, change)), tmp_path, CorruptFileError, "used as")


@pytest.mark.parametrize("table", [WEIGHTS, CONSTANTS])
def test_pickled_tensor_is_refused(entries, tmp_path, table, refused, edited):
    def change(document: dict) -> None:
        next(iter(document["config"].values()))["use_pickle"] = True

    bad = edited(entries, table, change)
    refused(write_entries(bad), tmp_path, UnsafeFileError, "pickled")


@pytest.mark.parametrize("table", [b"[]", b'{"config": []}', b"{", b"[" * 100_000])
def test_broken_table_is_corrupt(entries, tmp_path, table, refused):
    refused(write_entries({**entries, WEIGHTS: table}), tmp_path, CorruptFileError)
