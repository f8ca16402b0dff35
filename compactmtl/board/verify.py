"""Run an artefact on the stored inputs and compare it with the stored outputs, without torch.

``export`` writes, beside an artefact, its sidecar and ``reference.npz``: inputs, and the outputs
that torch computes for them in float64. So the check of the export can be repeated on any machine.

The rule, per output: the largest deviation, relative to the largest magnitude, is at most the bound
in the sidecar (4 times torch's own float32 error) plus one rounding to float32, in which the
reference is stored. In lower precision the relative root mean square is at most 4 times what the
sidecar states. Outputs of integers must be equal.

Where a network selects by comparison (pools that hand indices on, argmax), another order of
summation can flip a near-tie, and then the deviation is legitimate and large. Telling the two apart
takes torch; here the artefact is then not verified, and the message says why.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compactmtl.board.errors import DamagedError, DiffersError, UnsafeError
from compactmtl.board.files import read_bytes, read_json, sha256
from compactmtl.board.sessions import Session, open_session
from compactmtl.board.stored import read_arrays
from compactmtl.board.tensors import Array

REFERENCE = "reference.npz"
FACTOR = 4.0
ROUNDING = 2.0**-24
"""Of the stored reference."""


@dataclass(frozen=True)
class Found:
    """How far one output is from the reference.

    Attributes:
        error: Largest deviation over largest magnitude; of integers, the share that differs.
        rel_rms: Root mean square of the deviation over that of the reference.
        bound: Of ``error``, or of ``rel_rms`` in lower precision.
        holds: Whether it is kept.
    """

    error: float
    rel_rms: float
    bound: float
    holds: bool


@dataclass(frozen=True)
class Verification:
    """What a verification found.

    Attributes:
        file: The artefact's name.
        runtime: What ran it.
        precision: Of the artefact.
        num_samples: Stored samples it ran on.
        outputs: Output name to how far it is off.
    """

    file: str
    runtime: str
    precision: str
    num_samples: int
    outputs: dict[str, Found]


def verify(path: Path, *, threads: int = 1) -> Verification:
    """Check an artefact's bytes against its sidecar, run it, and compare.

    Args:
        path: The artefact; its sidecar and ``reference.npz`` lie beside it.
        threads: Threads of a runtime on the CPU.

    Raises:
        AbsentError: The artefact, its sidecar or the reference is missing.
        DamagedError: The bytes are not those the sidecar states, or a file is no such file.
        DiffersError: It computes something else, or rounding may have flipped a selection.
        BoardError: Its runtime is missing, cannot load or cannot run it.
    """
    sidecar = _sidecar(path)
    inputs, expected = _reference(path.with_name(REFERENCE))
    session = open_session(path, threads=threads)
    got = _run(session, inputs, _fixed_batch(sidecar))
    parity = sidecar["verified"]["per_task"] or _parents_parity(path, sidecar)
    precision = sidecar.get("precision", "fp32")
    outputs = {
        name: _compare(name, got, want, parity.get(name) or {}, precision)
        for name, want in expected.items()
    }
    result = Verification(
        file=path.name,
        runtime=session.runtime,
        precision=precision,
        num_samples=min(len(each) for each in inputs.values()),
        outputs=outputs,
    )
    wrong = {name: found for name, found in outputs.items() if not found.holds}
    if wrong:
        listed = "; ".join(
            f"`{name}` {found.error:.3g} (relative RMS {found.rel_rms:.3g}), at most "
            f"{found.bound:.3g} expected"
            for name, found in wrong.items()
        )
        selects = bool(sidecar["verified"].get("selections"))
        raise DiffersError(
            f"`{path}` in {session.runtime} computes something else: {listed}",
            hint="the network selects by comparison, and rounding can flip a near-tie: "
            "`compactmtl export` on this machine can tell that apart"
            if selects
            else "export again, or look for what differs in this runtime",
        )
    return result


def _sidecar(path: Path) -> dict[str, Any]:
    """Read the sidecar and check that it describes these bytes."""
    document = read_json(path.with_name(path.name + ".json"))
    content = read_bytes(path)
    try:
        parts = dict(document.get("parts") or {})
        stated = {path.name: str(document["sha256"]), **parts}
        document["verified"]["per_task"].items()
        document["inputs"][0]["shape"]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise DamagedError(
            f"`{path.name}.json` is not a sidecar of compactmtl", hint="export again"
        ) from error
    for name, fingerprint in stated.items():
        if Path(name).name != name:
            raise UnsafeError(f"`{path.name}.json` names the file `{name}` outside its folder")
        found = sha256(content if name == path.name else read_bytes(path.with_name(name)))
        if found != fingerprint:
            raise DamagedError(
                f"`{name}` is not the file that `{path.name}.json` describes: SHA-256 "
                f"{found[:12]}, expected {fingerprint[:12]}",
                hint="copy it again, or export again",
            )
    return document


def _parents_parity(path: Path, sidecar: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of the ONNX file that an engine was built from."""
    stated = sidecar.get("parent")
    if not isinstance(stated, dict) or not isinstance(stated.get("file"), str):
        raise DamagedError(f"`{path.name}.json` does not say what `{path.name}` was built from")
    parent = path.with_name(Path(stated["file"]).name + ".json")
    document = read_json(parent)
    if document.get("sha256") != stated.get("sha256"):
        raise DamagedError(
            f"`{path.name}` was built from another file than `{parent.name}` describes",
            hint="export again",
        )
    verified = document.get("verified")
    found = verified.get("per_task") if isinstance(verified, dict) else None
    if not isinstance(found, dict):
        raise DamagedError(f"`{parent}` is not a sidecar of compactmtl", hint="export again")
    return found


def _reference(path: Path) -> tuple[dict[str, Array], dict[str, Array]]:
    content = read_arrays(path, hint="copy it along; `compactmtl export` wrote it")
    inputs = {k[len("input.") :]: v for k, v in content.items() if k.startswith("input.")}
    outputs = {k[len("output.") :]: v for k, v in content.items() if k.startswith("output.")}
    if not inputs or not outputs or any(not len(each) for each in content.values()):
        raise DamagedError(f"`{path}` holds no inputs, or no outputs", hint="export again")
    return inputs, outputs


def _fixed_batch(sidecar: dict[str, Any]) -> int | None:
    size = sidecar["inputs"][0]["shape"][0]
    return size if isinstance(size, int) else None


def _run(session: Session, inputs: dict[str, Array], batch: int | None) -> dict[str, Array]:
    """Run all samples at once, or in calls of a fixed batch size."""
    num = min(len(each) for each in inputs.values())
    step = batch or num
    runs = []
    for start in range(0, num, step):
        rows = np.arange(start, start + step) % num
        keep = min(step, num - start)
        outputs = session({name: each[rows] for name, each in inputs.items()})
        runs.append({name: value[:keep] for name, value in outputs.items()})
    return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}


def _compare(
    name: str, outputs: dict[str, Array], want: Array, parity: dict[str, Any], precision: str
) -> Found:
    if name not in outputs:
        raise DiffersError(f"there is no output `{name}`; there are: {', '.join(outputs)}")
    got = outputs[name]
    if got.shape != want.shape:
        raise DiffersError(
            f"output `{name}` has shape {list(got.shape)}, expected {list(want.shape)}"
        )
    if not np.issubdtype(want.dtype, np.floating):
        share = float((got != want).mean())
        bound = 0.0 if precision == "fp32" else FACTOR * float(parity.get("max_rel_error") or 0.0)
        return Found(share, share, bound, share <= bound)
    if not np.isfinite(got).all():
        raise DiffersError(f"output `{name}` holds NaN or Inf")
    exact = want.astype(np.float64)
    scale = float(np.abs(exact).max()) or 1.0
    off = got.astype(np.float64) - exact
    error = float(np.abs(off).max()) / scale
    norm = float(np.sqrt(np.square(exact).sum())) or 1.0
    rel_rms = float(np.sqrt(np.square(off).sum())) / norm
    if precision == "fp32":
        if not isinstance(parity.get("bound"), float):
            raise DamagedError(f"the sidecar states no bound for output `{name}`")
        bound = parity["bound"] + ROUNDING
        return Found(error, rel_rms, bound, error <= bound)
    if not isinstance(parity.get("rel_rms"), float):
        raise DamagedError(f"the sidecar states no relative RMS for output `{name}`")
    bound = FACTOR * parity["rel_rms"]
    return Found(error, rel_rms, bound, rel_rms <= bound)
