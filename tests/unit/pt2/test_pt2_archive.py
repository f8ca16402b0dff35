"""Every hostile kind of zip archive is refused before torch sees it."""

import contextlib
import io
import struct
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compactmtl.errors import (
    CompactMTLError,
    CorruptFileError,
    MissingFileError,
    UnsafeFileError,
)
from compactmtl.pt2 import open_pt2
from compactmtl.pt2.archive import CONSTANTS, PROGRAM, WEIGHTS

Entries = dict[str, bytes]


def zipped(entries: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def rooted(entries: Entries) -> list[tuple[str, bytes]]:
    return [(f"archive/{path}", content) for path, content in entries.items()]


def test_rebuilt_archive_opens(entries, tmp_path):
    """The oracle of this section: without a planted fault the same construction is accepted."""
    (tmp_path / "ok.pt2").write_bytes(zipped(rooted(entries)))
    assert open_pt2(tmp_path / "ok.pt2").state_dict["conv.weight"].shape == (8, 3, 3, 3)


@pytest.mark.parametrize(
    "name",
    [
        "archive/../../pwned",
        "/pwned",
        "archive/data/../pwned",
        "archive\\pwned",
        "pwned",
        "other/x",
    ],
)
def test_climbing_or_foreign_names_are_refused(entries, tmp_path, name, refused):
    refused(zipped([*rooted(entries), (name, b"x")]), tmp_path, UnsafeFileError)


def test_nul_in_a_name_is_refused(entries, tmp_path, refused):
    content = zipped([*rooted(entries), ("archive/extra/aXb", b"x")])
    refused(content.replace(b"extra/aXb", b"extra/a\0b"), tmp_path, UnsafeFileError)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_entries_are_refused(entries, tmp_path, refused):
    twice = [*rooted(entries), ("archive/" + PROGRAM, entries[PROGRAM])]
    refused(zipped(twice), tmp_path, UnsafeFileError, "twice")


def test_compressed_entries_are_refused(entries, tmp_path, refused):
    bomb = {**entries, "extra/bomb": bytes(10_000_000)}
    refused(zipped(rooted(bomb), zipfile.ZIP_DEFLATED), tmp_path, UnsafeFileError, "compressed")


def test_declared_sizes_beyond_the_file_are_refused(entries, tmp_path, refused):
    """Many index records that all point at the same bytes: a bomb without compression."""
    buffer = io.BytesIO(zipped([*rooted(entries), ("archive/extra/a", bytes(10**6))]))
    with zipfile.ZipFile(buffer, "a") as archive:
        source = archive.getinfo("archive/extra/a")
        for number in range(50):
            copy = zipfile.ZipInfo(f"archive/extra/a{number}")
            copy.file_size = copy.compress_size = source.file_size
            copy.CRC, copy.header_offset = source.CRC, source.header_offset
            archive.filelist.append(copy)
            archive.NameToInfo[copy.filename] = copy
        archive._didModify = True
    refused(buffer.getvalue(), tmp_path, UnsafeFileError, "declare")


def test_size_that_differs_from_the_packed_size_is_refused(entries, tmp_path, refused):
    content = bytearray(zipped(rooted(entries)))
    record = content.rindex(b"PK\x01\x02")
    (size,) = struct.unpack_from("<I", content, record + 24)
    struct.pack_into("<I", content, record + 24, size - 1)
    refused(bytes(content), tmp_path, UnsafeFileError, "declare")


def test_changed_byte_in_a_weight_is_corrupt(saved, entries, tmp_path, refused):
    content = saved.read_bytes()
    weight = entries["data/weights/weight_0"]
    flipped = content.replace(weight, bytes([weight[0] ^ 1]) + weight[1:])
    assert flipped != content
    refused(flipped, tmp_path, CorruptFileError, "CRC")


@settings(max_examples=25, deadline=None)
@given(share=st.floats(0.0, 0.999))
def test_truncated_file_is_corrupt(saved, tmp_path_factory, share, refused):
    content = saved.read_bytes()
    folder = tmp_path_factory.mktemp("cut")
    refused(content[: int(share * len(content))], folder, CorruptFileError)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_file_never_raises_anything_else(saved, tmp_path_factory, data):
    content = bytearray(saved.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("noise") / "m.pt2"
    path.write_bytes(content)
    with contextlib.suppress(CompactMTLError):
        assert open_pt2(path).graph is not None


@pytest.mark.parametrize(
    "missing", ["archive_format", "archive_version", PROGRAM, WEIGHTS, CONSTANTS]
)
def test_missing_entry_is_named(entries, tmp_path, missing, refused):
    del entries[missing]
    refused(zipped(rooted(entries)), tmp_path, CorruptFileError, missing)


@pytest.mark.parametrize("entry", ["archive_format", "archive_version", "byteorder"])
def test_other_version_is_corrupt(entries, tmp_path, entry, refused):
    content = zipped(rooted({**entries, entry: b"7"}))
    refused(content, tmp_path, CorruptFileError, "version|byte order")


@pytest.mark.parametrize(
    "entry",
    [
        "data/aotinductor/model/x.so",
        "data/constants/custom_obj_0",
        "data/constants/opaque_obj_0",
        "data/weights/model.pt",
        "data/constants/model.pt",
        "models/second.json",
        "data/executorch/model.pte",
        "code/__init__.py",
    ],
)
def test_entry_that_no_program_needs_is_refused(entries, tmp_path, entry, refused):
    content = zipped(rooted({**entries, entry: b"x"}))
    refused(content, tmp_path, UnsafeFileError, entry.split("/")[-1])


@pytest.mark.parametrize("zip_format", [True, False], ids=["zip", "legacy"])
def test_checkpoint_is_not_a_program(tmp_path, zip_format, refused):
    buffer = io.BytesIO()
    torch.save({"model": {}}, buffer, _use_new_zipfile_serialization=zip_format)
    refused(buffer.getvalue(), tmp_path, CorruptFileError, "torch.save|not a zip")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"], ids=["empty", "text", "head"])
def test_other_content_is_corrupt(tmp_path, content, refused):
    refused(content, tmp_path, CorruptFileError)


def test_missing_file(tmp_path):
    with pytest.raises(MissingFileError):
        open_pt2(tmp_path / "nowhere.pt2")
