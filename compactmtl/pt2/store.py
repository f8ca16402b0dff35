"""Open and save ``.pt2`` files.

What ``torch.export.load`` (read in torch 2.15) would do with a hostile file: unpickle sample
inputs, tensor subclasses and opaque objects with ``weights_only=False``, load compiled libraries,
``eval`` size expressions, ``exec`` guards, import modules that tree specs name, compile node names
as source and call any function below ``torch``. It therefore never sees a user's file: it is given
an archive in memory that holds nothing but the entries checked here.
"""

import io
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils._pytree import tree_unflatten

from compactmtl.errors import CorruptFileError
from compactmtl.files import write_bytes
from compactmtl.pt2.archive import (
    CONSTANTS,
    MANIFEST,
    PROGRAM,
    SAMPLES,
    WEIGHTS,
    read_document,
    read_entries,
    write_entries,
)
from compactmtl.pt2.payloads import check_payloads
from compactmtl.pt2.program import checked_program

FORMAT_VERSION = 1


def open_pt2(path: str | Path) -> ExportedProgram:
    """Open an exported program without running anything that is in the file.

    Its ``example_inputs`` are zeros of the captured sizes, whatever the file holds.

    Raises:
        MissingFileError: No such file.
        CorruptFileError: Not a .pt2 file, truncated, of another version, or tensors that do not
            agree with what is declared about them.
        UnsafeFileError: It holds pickles, script objects, compiled libraries, operators that are
            not on the list, or strings that torch would run as code.
    """
    path = Path(path)
    return _load(_checked(read_entries(path, str(path)), str(path)), str(path))


def save_pt2(program: ExportedProgram, path: str | Path, manifest: Mapping[str, Any]) -> None:
    """Save a program with its manifest, atomically, such that ``open_pt2`` opens it.

    Sample inputs and stack traces (which hold paths of this machine) are left out.

    Args:
        program: Captured on the CPU. Not changed.
        path: Where to.
        manifest: JSON data; stored under ``compactmtl.json`` with ``format_version``.

    Raises:
        UnsafeFileError, CorruptFileError: As ``open_pt2`` would raise for this program.
        WriteError: The file cannot be written; an earlier one is unchanged.
    """
    path = Path(path)
    buffer = io.BytesIO()
    with _plain_weights(program):
        torch.export.save(program, buffer)
    buffer.seek(0)
    entries = _checked(read_entries(buffer, path.name), path.name)
    document = {"format_version": FORMAT_VERSION, **manifest}
    entries[MANIFEST] = json.dumps(document, indent=2, allow_nan=False).encode()
    write_bytes(path, write_entries(entries))


def read_manifest(path: str | Path) -> dict[str, Any]:
    """Return the manifest of a file that ``save_pt2`` wrote, without loading the program.

    Raises:
        MissingFileError: No such file.
        CorruptFileError: Not one of our files, or of a format version that is not read here.
        UnsafeFileError: An entry that should not be there.
    """
    path = Path(path)
    entries = read_entries(path, str(path))
    if MANIFEST not in entries:
        raise CorruptFileError(
            f"`{path}` is an exported program without a manifest, so not one of compactmtl's",
            hint="give the network's own file and `--model` to `compactmtl compress`",
        )
    manifest = read_document(entries, MANIFEST, str(path))
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if version != FORMAT_VERSION:
        raise CorruptFileError(
            f"`{path}` has format_version {str(version)[:20]}, "
            f"this compactmtl reads {FORMAT_VERSION}",
            hint="update compactmtl, or compress again",
        )
    return dict(manifest)


def _checked(entries: dict[str, bytes], name: str) -> dict[str, bytes]:
    """Return the entries a program needs, each one checked and none as free text."""
    weights, constants, program = (
        read_document(entries, path, name) for path in (WEIGHTS, CONSTANTS, PROGRAM)
    )
    clean = checked_program(
        program,
        check_payloads(weights, entries, "data/weights/", name),
        check_payloads(constants, entries, "data/constants/", name),
        name,
    )
    tensors = {
        p: c
        for p, c in entries.items()
        if p.startswith("data/") and not p.endswith((".json", ".pt"))
    }
    documents = {WEIGHTS: weights, CONSTANTS: constants, PROGRAM: clean}
    return {
        "archive_format": entries["archive_format"],
        "archive_version": entries["archive_version"],
        **{path: json.dumps(document).encode() for path, document in documents.items()},
        SAMPLES: b"",  # torch reads an empty entry as "no samples"
        **tensors,
    }


def _load(entries: dict[str, bytes], name: str) -> ExportedProgram:
    log = logging.getLogger("torch.export")
    level = log.level
    log.setLevel(logging.CRITICAL)  # it logs a traceback and raises a second error, we raise one
    try:
        program = torch.export.load(io.BytesIO(write_entries(entries)))
        program.example_inputs = _blank_inputs(program, json.loads(entries[PROGRAM]))
        return program
    except Exception as error:  # whatever its parser meets: asserts, KeyError, ...
        raise CorruptFileError(
            f"`{name}`: torch {torch.__version__} cannot read the program: {str(error)[:200]!r}",
            hint="was it saved by another version of torch?",
        ) from error
    finally:
        log.setLevel(level)


def _blank_inputs(program: ExportedProgram, document: Any) -> Any:
    """Return zeros of the captured sizes that take no memory.

    Without example inputs, ``ExportedProgram.module()`` would leave out its guards.
    """
    values = document["graph_module"]["graph"]["tensor_values"]
    dtypes = {node.name: node.meta["val"] for node in program.graph.find_nodes(op="placeholder")}
    leaves = []
    for name in program.graph_signature.user_inputs:
        if name in values:
            sizes = [
                s["as_int"] if "as_int" in s else s["as_expr"]["hint"]["as_int"]
                for s in values[name]["sizes"]
            ]
            leaves.append(torch.zeros((), dtype=dtypes[name].dtype).expand(sizes))
        else:
            leaves.append(name)  # a number, fixed when it was captured
    return tree_unflatten(leaves, program.call_spec.in_spec)


@contextmanager
def _plain_weights(program: ExportedProgram) -> Iterator[None]:
    """While saving, let every weight own exactly its bytes: torch stores whole storages."""
    original = dict(program.state_dict)
    copies: dict[tuple[int, ...], torch.Tensor] = {}
    try:
        for name, tensor in original.items():
            if tensor.untyped_storage().nbytes() != tensor.nbytes or not tensor.is_contiguous():
                key = (tensor.data_ptr(), *tensor.shape, *tensor.stride())
                copy = copies.setdefault(key, tensor.detach().contiguous().clone())
                program.state_dict[name] = (
                    torch.nn.Parameter(copy, tensor.requires_grad)
                    if isinstance(tensor, torch.nn.Parameter)
                    else copy
                )
        yield
    finally:
        program.state_dict.update(original)
