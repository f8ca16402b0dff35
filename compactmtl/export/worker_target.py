"""What targets have in common whose converter lives in an environment of its own."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from compactmtl.errors import (
    BenchError,
    CompactMTLError,
    CorruptFileError,
    ExportError,
    MissingFileError,
    NotPossibleHereError,
)
from compactmtl.export import worker
from compactmtl.export.base import Availability, Evidence, Exporter, Job, Runnable
from compactmtl.export.board_errors import as_said
from compactmtl.export.environments import Environment
from compactmtl.export.sidecar import Sidecar, read_sidecar, write_sidecar
from compactmtl.files import fingerprint, write_together

if TYPE_CHECKING:  # saying what the targets are must not wait for torch
    from torch.export import ExportedProgram

    from compactmtl.export.cases import Case
    from compactmtl.export.elsewhere import Elsewhere
    from compactmtl.export.parity import Parity
    from compactmtl.export.stored import Array, Arrays

ADVICE = "leave out the tasks that need it, or export for `onnx`"
FACTOR = 8.0
"""How much larger than torch's own fp32 error that of XNNPACK may be, which LiteRT and ExecuTorch
compute with: of DeepLabV3-ResNet-50 it was up to 4.1 (LiteRT) and 4.7 times (ExecuTorch)."""
MAX_SECONDS = 1800
"""Longest that a worker may take; conversions took 2 to 140 s."""


class WorkerExporter(Exporter):
    """Convert in another Python, run the artefact there, and compare it here.

    The program is captured again at one size, that of the stored samples, and batch size 1 where
    the batch size is free; max-unpooling into tiles is rewritten (``rewrites/tiles.py``). It
    travels as a ``.pt2`` file that the converter's torch must be able to open, which is tested for
    the pinned versions.

    Supports:
        What the converter takes.
    Refuses:
        Other max-unpooling, by name, where the converter or the runtime fails on it; what the
        converter or its runtime refuses, with its own words.
    Fidelity:
        The rule of ``parity.py`` with ``FACTOR``, on the stored samples; where it cannot run, none.
    """

    environment: ClassVar[Environment]
    unpools: ClassVar[bool] = False
    """Whether it takes max-unpooling as torch has it; what tiles the plane is rewritten anyway."""
    runs_on: ClassVar[str] = ""
    """The one system that runs its artefacts, where they cannot be run by the worker."""
    evidence: ClassVar[Evidence]

    def availability(self) -> Availability:
        """Tell whether the environment was installed; see ``Exporter.availability``."""
        versions = dict(package.split("==") for package in self.environment.packages)
        first = next(iter(versions.values()))
        if not self.environment.is_complete:
            return Availability(version=None, runs_here=False, why_not=self.environment.describe())
        why_not = f"artefacts run on {self.runs_on} only" if self.runs_on else ""
        return Availability(version=first, runs_here=not self.runs_on, why_not=why_not)

    def export(self, job: Job) -> Sidecar:
        """Write the artefact and its sidecar; see ``Exporter.export``."""
        from compactmtl.export.describe import describe
        from compactmtl.export.recapture import at_fixed_sizes, fixed_cases
        from compactmtl.export.rewrites.unpooling import UNPOOL

        self.environment.require()
        cases = fixed_cases(job.program, job.interface, job.stored)
        program = at_fixed_sizes(job.program, cases[0].tensors(), tiles=True)
        unpools = program.graph.find_nodes(op="call_function", target=UNPOOL)
        if unpools and not self.unpools:
            raise ExportError(
                f"target `{self.target}` takes no max-unpooling whose windows do not tile the "
                f"plane: {', '.join(f'`{node.name}`' for node in unpools)}",
                hint=ADVICE,
            )
        names = [*job.interface.input_names, *job.interface.output_names]
        with write_together(job.path) as folder:
            artefact = folder / job.path.name
            versions = self._convert(program, artefact, names)
            parity = None if self.runs_on else self._compare(job, artefact, cases)
            tools = ", ".join(f"{name} {number}" for name, number in versions.items())
            sidecar = describe(
                replace(job, program=program, check=replace(job.check, cases=cases)),
                self.target,
                (artefact,),
                parity,
                runtime=tools + (f"; runs on {self.runs_on} only" if self.runs_on else ""),
                versions={f"{self.target}: {name}": value for name, value in versions.items()},
            )
            write_sidecar(artefact, sidecar)
        return sidecar

    def load(self, path: Path) -> Runnable:
        """Load an artefact in its environment; see ``Exporter.load``."""
        if not path.exists():
            raise MissingFileError(f"no such file: `{path}`")
        sidecar = read_sidecar(path)
        if fingerprint(path) != sidecar.sha256:
            raise CorruptFileError(f"`{path}` is not what its sidecar describes")
        session = self.open(path)
        size = int(sidecar.inputs[0].shape[0])

        def run(inputs: "Arrays") -> "dict[str, Array]":
            """Run any number of samples, in calls of the size that the artefact is fixed to."""
            num = min(len(array) for array in inputs.values())
            calls = [{k: a[i : i + size] for k, a in inputs.items()} for i in range(0, num, size)]
            results = [session(call) for call in calls]
            return {k: np.concatenate([each[k] for each in results]) for k in results[0]}

        return run

    def open(self, path: Path, *, threads: int = 1) -> "Elsewhere":
        """Load an artefact in its environment, which lives in a process of its own.

        Raises:
            MissingExtraError: The environment is not installed.
            NotPossibleHereError: Its artefacts do not run on this machine.
            CorruptFileError: The runtime cannot read it.
        """
        from compactmtl.export.elsewhere import Elsewhere
        from compactmtl.remote.application import NAME, make_application

        if self.runs_on:
            raise NotPossibleHereError(f"`{path}` runs on {self.runs_on} only")
        self.environment.require()
        folder = tempfile.TemporaryDirectory()
        application = Path(folder.name) / NAME
        application.write_bytes(make_application())
        # Isolated: no setting of this process reaches the other Python.
        command = [str(self.environment.python), "-I", str(application), "stream", str(path)]
        command += ["--threads", str(threads)]
        return Elsewhere(command, place="", failed=self._failed, cleanup=folder.cleanup)

    def _failed(self, code: int, lines: Sequence[str]) -> CompactMTLError:
        return as_said(code, lines, place="") or ExportError(
            f"the runtime of target `{self.target}` died with exit code {code}: {_last(lines)}"
        )

    def _compare(self, job: Job, artefact: Path, cases: "Sequence[Case]") -> "Parity":
        """Run all cases in one worker; where pools hand indices on, a probe tells what it chose."""
        from compactmtl.export.recapture import at_fixed_sizes

        outputs = self._run(artefact, cases)
        pools: list[list[Array]] = [[] for _ in cases]
        if num_pools := job.check.reference.num_pools:
            with tempfile.TemporaryDirectory() as name:
                probe = Path(name) / artefact.name
                tensors = cases[0].tensors()
                program = at_fixed_sizes(job.program, tensors, selections=True, tiles=True)
                self._convert(program, probe, ())
                pools = [
                    [index.astype(np.int64) for index in values[-num_pools:]]  # LiteRT: 32 bits
                    for values in self._run(probe, cases)
                ]
        found = {
            id(case.inputs): (dict(zip(job.interface.output_names, values, strict=True)), chosen)
            for case, values, chosen in zip(cases, outputs, pools, strict=True)
        }
        return job.check.parity(lambda inputs: found[id(inputs)], cases, factor=FACTOR)

    def _convert(
        self, program: "ExportedProgram", artefact: Path, names: Sequence[str]
    ) -> dict[str, str]:
        """Convert; returns the versions of what did it."""
        from compactmtl.pt2 import save_pt2

        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "program.pt2"
            save_pt2(program, path, {})  # without traces of modules, which the worker cannot import
            versions = self._work(str(path), str(artefact), *names)
        return dict(versions)

    def _run(self, artefact: Path, cases: "Sequence[Case]") -> "list[list[Array]]":
        """Return each case's outputs, in order; the artefact has no sidecar with names yet.

        Raises:
            ExportError: The runtime cannot load it, or cannot run it.
        """
        try:
            session = self.open(artefact)
            names = [info.name for info in session.inputs]
            calls = [dict(zip(names, case.inputs.values(), strict=True)) for case in cases]
            results = [list(session(call).values()) for call in calls]
            session.close()
        except (BenchError, CorruptFileError) as error:
            said = error.message.replace(str(artefact), artefact.name)[:300]
            raise ExportError(
                f"target `{self.target}` cannot run the model: {said}", hint=ADVICE
            ) from error
        return results

    def _work(self, *arguments: str) -> Any:
        """Run the worker script to its end and return the versions it worked with.

        Raises:
            ExportError: The converter refuses, dies, or takes too long.
        """
        process = subprocess.Popen(
            # Isolated: beside the worker lie modules that are called like packages, `executorch`.
            [str(self.environment.python), "-I", worker.__file__, self.target, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            answer, said = process.communicate(timeout=MAX_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise ExportError(
                f"the converter of target `{self.target}` took longer than {MAX_SECONDS} s"
            ) from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # and whatever it has started
                process.communicate()
        if process.returncode or not answer:
            raise ExportError(
                f"the converter of target `{self.target}` died with exit code "
                f"{process.returncode}: {_last(said.splitlines())}"
            )
        document = json.loads(answer)
        if "refused" in document:
            raise ExportError(
                f"target `{self.target}` cannot convert the model: "
                f"{' '.join(document['refused'].split())[:300]}",
                hint=ADVICE,
            )
        return document["versions"]


def _last(lines: Sequence[str]) -> str:
    """Return the last line that says something."""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
