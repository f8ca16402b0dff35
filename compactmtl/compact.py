"""The compact model: the graph, its dense twin and all that is known of them; ``.pt2`` on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, fx
from torch.export import Dim, ExportedProgram

from compactmtl.errors import CompilerError, CorruptFileError, UsageError
from compactmtl.graph_mode import ModalGraph, modal
from compactmtl.parameter_map import scatter
from compactmtl.pt2 import open_pt2, read_manifest, save_pt2

FORMAT_VERSION = 1
REAL_IMAGES = "validation images of "
"""How the origin of the inputs in a compact folder begins where they are real, not noise."""
Which = Literal["compact", "dense"]


class InputSpec(BaseModel):
    """One input: its name, example shape (batch first), dtype, and its free axes by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    shape: tuple[int, ...]
    dtype: str
    dynamic: dict[int, str] = {}

    def example(self) -> Tensor:
        """Return random numbers of this shape, seeded."""
        generator = torch.Generator().manual_seed(0)
        return torch.rand(self.shape, generator=generator).to(getattr(torch, self.dtype))


class Manifest(BaseModel):
    """What a compact model is, independent of its weights.

    Attributes:
        inputs: The inputs in order.
        output_names: Names of the outputs in order: the task names.
        all_outputs: Names of all outputs of the network, where it was compiled for some of them.
        part: Dotted name of the part of the network that this is; empty: all of it.
        tasks: Per task its specification, as ``Task.spec()`` gives it; empty if unknown.
        objective: What the compiler minimised.
        cost_model: Where the compiler's cost figures come from.
        parent: File name and SHA-256 of the checkpoint or weights it was made from.
        recipe: The recipe of the run, if the checkpoint had one.
        torch: Version of torch that captured it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: Literal[1] = 1
    which: Which = "compact"
    inputs: list[InputSpec]
    output_names: list[str]
    all_outputs: list[str] = []
    part: str = ""
    tasks: dict[str, dict[str, Any]] = {}
    objective: str = "latency"
    cost_model: str = ""
    parent: dict[str, str] = {}
    recipe: dict[str, Any] | None = None
    torch: str = ""

    @property
    def input_names(self) -> list[str]:
        """Return the names of the inputs."""
        return [spec.name for spec in self.inputs]


@dataclass(frozen=True)
class Cost:
    """Complexity at the example size, batch 1: multiply-accumulates, parameters, weight bytes."""

    macs: int
    num_params: int
    weights_bytes: int


@dataclass
class CompressReport:
    """What the compiler did.

    Attributes:
        before: Cost of the dense twin.
        after: Cost of the compact model.
        max_rel_error: Largest float32 error of any output against the float64 reference.
        census: Zero input groups, zero filters, removable channels, each beside its total.
        layers: Per convolution or linear layer its channels and MACs before and after.
        opaque: Ops that keep their channels: node, op, why, source line.
        carriers: Constant channels that stay because zero padding must see them.
        gathers: Number of layers that read through a gather.
        verification: What was compared and how close it was.
        seconds: Wall time per pass.
        notes: Sentences for the user.
        tuned: "", or that the cost model's figures are of another machine.
        group_norms: Where nothing could be removed: per layer how large its input groups are.
        dropped_modules: Modules that do nothing in eval mode, and so are not in the compact model:
            auxiliary heads, stochastic depth; each with its class and number of parameters.
        finetuned: Where the weights were trained further: recipe, run, epochs, and the metrics of
            every task before and after. Exactness was proved of the weights before.
        dropped: Where outputs were dropped: their names, and the MACs and parameters that this
            alone saved; ``before`` is without them.
        threshold: Where small groups were treated as zero: the limit, how many groups, and how
            far each output moved from the original's. Everything else in this report compares
            with the network after the threshold; the dense twin is the network before it.
        part: Where a part was compiled: its name, and the change of the whole network with it.
        rules: Names of the foreign rules.
    """

    before: Cost
    after: Cost
    max_rel_error: float = 0.0
    census: dict[str, int] = field(default_factory=dict)
    layers: list[dict[str, Any]] = field(default_factory=list)
    opaque: list[dict[str, str]] = field(default_factory=list)
    carriers: list[dict[str, Any]] = field(default_factory=list)
    gathers: int = 0
    verification: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    tuned: str = ""
    group_norms: list[dict[str, Any]] = field(default_factory=list)
    dropped_modules: list[dict[str, Any]] = field(default_factory=list)
    finetuned: dict[str, Any] | None = None
    dropped: dict[str, Any] = field(default_factory=dict)
    threshold: dict[str, Any] = field(default_factory=dict)
    part: dict[str, Any] = field(default_factory=dict)
    rules: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        return {**vars(self), "before": vars(self.before), "after": vars(self.after)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> CompressReport:
        """Return the report that ``to_dict`` made this of."""
        fields = dict(document)
        return cls(before=Cost(**fields.pop("before")), after=Cost(**fields.pop("after")), **fields)


@dataclass
class CompactModel:
    """A network without dead channels; ``module(*inputs)`` returns what the original returned.

    Attributes:
        module: The compact graph. It runs, trains, and has working ``train()`` and ``eval()``.
        dense: Its dense twin (contracted, nothing removed), or None where only the compact
            model was loaded.
        manifest: What it is.
        report: What the compiler did.
        plan: Which channels of the original each value and each parameter has, as JSON data.
        why: Why each layer has them, as JSON data; known where the model was just compiled, and
            in ``why.json`` of its folder.
        exact: The compact graph in float64, before its weights were rounded; known where a part was
            just compiled, to prove the whole with.
    """

    module: ModalGraph
    dense: ModalGraph | None
    manifest: Manifest
    report: CompressReport
    plan: dict[str, Any]
    why: dict[str, Any] = field(default_factory=dict)
    exact: fx.GraphModule | None = None

    def example_inputs(self) -> tuple[Tensor, ...]:
        """Return random inputs of the example shapes, on the CPU."""
        return tuple(spec.example() for spec in self.manifest.inputs)

    def original_state_dict(self) -> dict[str, Tensor]:
        """Return the weights at the shapes of the original network, zero where they were removed.

        The original network computes with them what the compact model does, trained further or
        not: load them with ``strict=False``, for layers that are gone altogether, and parameters
        that work in train mode only, are not among them. Not so where the compact model has a bias
        that the original lacks (``plan["parameters"][name]["new"]``): it stands for constants.

        Raises:
            WeightsError: A weight has no place in the original: a grouped convolution that was
                written as a dense one, and trained to read across groups; or a rule of the user's
                own cut a parameter in a way that it did not tell.
        """
        return scatter(self.module.state_dict(), self.plan["parameters"])

    def exported_program(self, which: Which = "compact") -> ExportedProgram:
        """Return the graph as an ``ExportedProgram`` in eval mode, with the axes that were free.

        Raises:
            UsageError: The dense twin is asked for but was not loaded.
        """
        graph = self.module if which == "compact" else self.dense
        if graph is None:
            raise UsageError(
                "this compact model was loaded without its dense twin",
                hint="load the folder with compactmtl.compact.load_folder",
            )
        return export_graph(graph, self.manifest)

    def save(self, path: str | Path, which: Which = "compact") -> None:
        """Write a ``.pt2`` file with manifest, report and plan inside, atomically.

        Raises:
            WriteError: The file cannot be written.
        """
        document = {
            "format_version": FORMAT_VERSION,
            "manifest": self.manifest.model_copy(update={"which": which}).model_dump(mode="json"),
            "report": self.report.to_dict(),
            "plan": self.plan,
        }
        save_pt2(self.exported_program(which), Path(path), document)


def export_graph(graph: fx.GraphModule, manifest: Manifest) -> ExportedProgram:
    """Export a captured graph again, its free axes still free; its mode is restored.

    Raises:
        CompilerError: An axis that was free is not any more.
    """
    was_training = graph.training
    graph.eval()
    inputs = tuple(spec.example() for spec in manifest.inputs)
    shapes = tuple(dict.fromkeys(spec.dynamic, Dim.AUTO) for spec in manifest.inputs)
    program = torch.export.export(graph, inputs, dynamic_shapes=shapes, strict=False)
    graph.train(was_training)
    names = set(program.graph_signature.user_inputs)
    placeholders = [node for node in program.graph.nodes if node.name in names]
    for spec, node in zip(manifest.inputs, placeholders, strict=True):
        fixed = [
            name
            for axis, name in spec.dynamic.items()
            if isinstance(node.meta["val"].shape[axis], int)
        ]
        if fixed:
            raise CompilerError(
                f"axis {fixed[0]} of input `{spec.name}` was free and became fixed",
                hint="capture with a static shape",
            )
    return program


def load(path: str | Path) -> CompactModel:
    """Load a compact model (or a dense twin) from a ``.pt2`` file, without running code from it.

    Raises:
        MissingFileError: There is no such file.
        CorruptFileError: It is damaged, or not one of ours.
        UnsafeFileError: It asks for code to be run.
    """
    document = read_manifest(Path(path))
    module = open_pt2(Path(path)).module()
    assert isinstance(module, fx.GraphModule)
    try:
        manifest = Manifest.model_validate(document["manifest"])
        report = CompressReport.from_dict(document["report"])
        plan = dict(document["plan"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CorruptFileError(
            f"`{path}`: its manifest is not one of compactmtl's: {type(error).__name__}: {reason}",
            hint="compress again",
        ) from error
    return CompactModel(
        module=modal(module), dense=None, manifest=manifest, report=report, plan=plan
    )


def load_folder(folder: str | Path) -> CompactModel:
    """Load ``model.pt2`` and its dense twin ``dense.pt2`` from a compact folder.

    Raises:
        MissingFileError: One of them is not there.
    """
    compact = load(Path(folder) / "model.pt2")
    compact.dense = load(Path(folder) / "dense.pt2").module
    return compact
