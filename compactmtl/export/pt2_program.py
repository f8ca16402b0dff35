"""Target ``pt2``: a program of ``torch.export`` with one named output per task."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from compactmtl.board.tensors import InputInfo
from compactmtl.environment import version
from compactmtl.errors import CorruptFileError, MissingFileError
from compactmtl.export.base import Availability, Evidence, Exporter, Job, Runnable
from compactmtl.export.sidecar import Sidecar, write_sidecar
from compactmtl.files import write_together

if TYPE_CHECKING:  # saying what the targets are must not wait for torch
    from torch import Tensor

    from compactmtl.export.stored import Array, Arrays


class Pt2Exporter(Exporter):
    """Write what any ``torch.export.load`` opens, without this library.

    Supports:
        Every compact model.
    Refuses:
        Nothing beyond what ``compactmtl.pt2`` does not let into a file.
    Fidelity:
        The rule of ``parity.py``, on the file as it was read back.
    """

    target: ClassVar[str] = "pt2"
    suffix: ClassVar[str] = ".exported.pt2"
    evidence: ClassVar[Evidence] = "run on hardware"

    def availability(self) -> Availability:
        """Tell which torch is here; see ``Exporter.availability``."""
        return Availability(version=version("torch"), runs_here=True)

    def export(self, job: Job) -> Sidecar:
        """Write the file and its sidecar; see ``Exporter.export``."""
        from compactmtl.export.describe import describe
        from compactmtl.export.recapture import at_fixed_sizes, with_names
        from compactmtl.export.reference import Reference
        from compactmtl.pt2 import save_pt2

        program = with_names(job.program, job.interface)
        with write_together(job.path) as folder:
            path = folder / job.path.name
            save_pt2(program, path, {"inputs": job.interface.input_names})
            run = Pt2Session(path)
            pools = Reference(job.program).num_pools

            def probed(inputs: "Arrays") -> "tuple[dict[str, Array], list[Array]]":
                outputs = run(inputs)
                if not pools:
                    return outputs, []
                # The same kernels select the same indices in a program that yields them, too.
                tensors = run.tensors(inputs)
                probe = at_fixed_sizes(run.program, tensors, selections=True).module()
                return outputs, [index.numpy() for index in probe(*tensors)[-pools:]]

            sidecar = describe(
                job,
                self.target,
                (path,),
                job.check.parity(probed),
                runtime=f"torch {version('torch')}",
                versions={},
            )
            write_sidecar(path, sidecar)
        return sidecar

    def load(self, path: Path) -> Runnable:
        """Load a program that holds nothing but allowed operations; see ``Exporter.load``."""
        return Pt2Session(path)


class Pt2Session:
    """A program that was exported, in torch on the CPU.

    Attributes:
        inputs: What it takes, by the names in its manifest.
        runtime: The version of torch.

    Raises:
        MissingFileError: There is no such file.
        CorruptFileError: It is no such program, or another one than ``export`` writes.
    """

    def __init__(self, path: Path) -> None:
        from compactmtl.pt2 import open_pt2, read_manifest

        if not path.is_file():
            raise MissingFileError(f"no such file: `{path}`")
        self.program = open_pt2(path)
        self.module = self.program.module()
        self.runtime = f"torch {version('torch')}"
        nodes = {node.name: node for node in self.program.graph.find_nodes(op="placeholder")}
        values = [nodes[name].meta["val"] for name in self.program.graph_signature.user_inputs]
        names = read_manifest(path).get("inputs")
        if not isinstance(names, list) or len(names) != len(values):
            raise CorruptFileError(f"`{path}` does not name its inputs", hint="export again")
        self.inputs = tuple(
            InputInfo(
                str(name),
                tuple(size if isinstance(size, int) else str(size) for size in value.shape),
                str(value.dtype).removeprefix("torch."),
            )
            for name, value in zip(names, values, strict=True)
        )

    def tensors(self, inputs: "Arrays") -> "list[Tensor]":
        """Return the inputs as the program takes them."""
        import torch

        return [torch.from_numpy(array) for array in inputs.values()]

    def __call__(self, inputs: "Arrays") -> "dict[str, Array]":
        """Run once."""
        import torch

        with torch.no_grad():
            outputs = self.module(*self.tensors(inputs))
        return {name: value.numpy() for name, value in outputs.items()}
