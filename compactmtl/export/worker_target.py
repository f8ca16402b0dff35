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

from compactmtl.errors import CorruptFileError, ExportError, MissingFileError, NotPossibleHereError
from compactmtl.export import worker
from compactmtl.export.base import Availability, Evidence, Exporter, Job, Runnable
from compactmtl.export.environments import Environment
from compactmtl.export.sidecar import Sidecar, read_sidecar, write_sidecar
from compactmtl.files import fingerprint, write_together

if TYPE_CHECKING:  # saying what the targets are must not wait for torch
    from torch.export import ExportedProgram

    from compactmtl.export.cases import Case
    from compactmtl.export.parity import Parity
    from compactmtl.export.stored import Array, Arrays

MAX_SECONDS = 1800
"""Longest that a worker may take; conversions took 2 to 140 s."""


class WorkerExporter(Exporter):
    """Convert in another Python, run the artefact there, and compare it here.

    The program is captured again at one size, that of the stored samples, and batch size 1 where
    the batch size is free. It travels as a ``.pt2`` file that the converter's torch must be able
    to open, which is tested for the pinned versions.

    Supports:
        What the converter takes.
    Refuses:
        What the converter or its runtime refuses, with its own words.
    Fidelity:
        The rule of ``parity.py``, on the stored samples; where the artefact cannot run, none.
    """

    environment: ClassVar[Environment]
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

        self.environment.require()
        cases = fixed_cases(job.program, job.interface, job.stored)
        program = at_fixed_sizes(job.program, cases[0].tensors())
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
        """Return what runs an artefact in its environment, a process per call."""
        if not path.exists():
            raise MissingFileError(f"no such file: `{path}`")
        sidecar = read_sidecar(path)
        if fingerprint(path) != sidecar.sha256:
            raise CorruptFileError(f"`{path}` is not what its sidecar describes")
        if self.runs_on:
            raise NotPossibleHereError(f"`{path}` runs on {self.runs_on} only")
        self.environment.require()
        names = [output.name for output in sidecar.outputs]
        size = int(sidecar.inputs[0].shape[0])

        def run(inputs: "Arrays") -> "dict[str, Array]":
            """Run any number of samples, in calls of the size that the artefact is fixed to."""
            num = min(len(array) for array in inputs.values())
            calls = [[a[i : i + size] for a in inputs.values()] for i in range(0, num, size)]
            try:
                results = self._run(path, calls)
            except ExportError as error:
                raise CorruptFileError(error.message) from error
            columns = zip(*results, strict=True)
            return {n: np.concatenate(c) for n, c in zip(names, columns, strict=True)}

        return run

    def _compare(self, job: Job, artefact: Path, cases: "Sequence[Case]") -> "Parity":
        """Run all cases in one worker; where pools hand indices on, a probe tells what it chose."""
        from compactmtl.export.recapture import at_fixed_sizes

        calls = [list(case.inputs.values()) for case in cases]
        outputs = self._run(artefact, calls)
        pools: list[list[Array]] = [[] for _ in cases]
        if num_pools := job.check.reference.num_pools:
            with tempfile.TemporaryDirectory() as name:
                probe = Path(name) / artefact.name
                tensors = cases[0].tensors()
                program = at_fixed_sizes(job.program, tensors, selections=True)
                self._convert(program, probe, ())
                pools = [values[-num_pools:] for values in self._run(probe, calls)]
        found = {
            id(case.inputs): (dict(zip(job.interface.output_names, values, strict=True)), chosen)
            for case, values, chosen in zip(cases, outputs, pools, strict=True)
        }
        return job.check.parity(lambda inputs: found[id(inputs)], cases)

    def _convert(
        self, program: "ExportedProgram", artefact: Path, names: Sequence[str]
    ) -> dict[str, str]:
        """Convert; returns the versions of what did it."""
        from compactmtl.pt2 import save_pt2

        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "program.pt2"
            save_pt2(program, path, {})  # without traces of modules, which the worker cannot import
            versions = self._work("convert", self.target, str(path), str(artefact), *names)
        return dict(versions)

    def _run(self, artefact: Path, calls: "list[list[Array]]") -> "list[list[Array]]":
        with tempfile.TemporaryDirectory() as name:
            inputs, outputs = Path(name) / "inputs.npz", Path(name) / "outputs.npz"
            worker.write_calls(str(inputs), calls)
            self._work("run", self.target, str(artefact), str(inputs), str(outputs))
            return worker.read_calls(str(outputs))

    def _work(self, *arguments: str) -> Any:
        """Run the worker script to its end and return the versions it worked with.

        Raises:
            ExportError: The converter or the runtime refuses, dies, or takes too long.
        """
        process = subprocess.Popen(
            # Isolated: beside the worker lie modules that are called like packages, `executorch`.
            [str(self.environment.python), "-I", worker.__file__, *arguments],
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
            last = next((line for line in reversed(said.splitlines()) if line.strip()), "")
            raise ExportError(
                f"the converter of target `{self.target}` died with exit code "
                f"{process.returncode}: {last.strip()}"
            )
        document = json.loads(answer)
        if "refused" in document:
            raise ExportError(
                f"target `{self.target}` cannot {arguments[0]} the model: "
                f"{' '.join(document['refused'].split())[:300]}",
                hint="leave out the tasks that need it, or export for `onnx`",
            )
        return document["versions"]
