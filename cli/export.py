"""The verb `export`."""

from pathlib import Path
from typing import Any, Literal

from compactmtl.cli.console import console
from compactmtl.cli.export_options import Dense, Opset, Target
from compactmtl.cli.options import DEFAULT_FOLDER, CompactFolder, Debug, Json, Quiet


def export(
    folder: CompactFolder = DEFAULT_FOLDER,
    *,
    target: Target = "onnx",
    dense: Dense = True,
    opset: Opset = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write the compact model and its dense twin for a runtime.

    Reads the folder that `compress` wrote and writes into it: model.onnx, dense.onnx, a sidecar
    beside each (model.onnx.json: interface, parity, versions, SHA-256 of the parent), and
    reference.npz with stored inputs and the outputs they must give. Variants that `compress
    --variants` wrote are exported the same way, each in its folder under variants/.

    Inputs and outputs keep their names (outputs are the tasks); batch, height and width stay free
    where they were. Each file is run and compared with the model, per task, before it is written:
    its error against fp64 is at most 4 times that of torch in fp32.

    Examples:
      compactmtl export
      compactmtl export compact/ --no-dense
      compactmtl export --opset 18 --json
    """
    from compactmtl.export import export as export_model
    from compactmtl.export import find_target
    from compactmtl.export.options import Options
    from compactmtl.export.stored import INPUTS, read_inputs
    from compactmtl.lineage import read_variants

    suffix = find_target(target).suffix
    jobs: list[tuple[Path, Path, Literal["compact", "dense"]]]
    jobs = [(folder, folder / f"model{suffix}", "compact")]
    jobs += [(folder, folder / f"dense{suffix}", "dense")] if dense else []
    jobs += [
        (each, each / f"model{suffix}", "compact") for each in read_variants(folder)[0].values()
    ]
    samples = read_inputs(folder / INPUTS).arrays if (folder / INPUTS).is_file() else None
    rows: list[list[Any]] = []
    sidecars = []
    with console.progress("export", len(jobs)) as advance:
        for source, path, which in jobs:
            sidecar = export_model(
                source,
                path,
                target=target,
                which=which,
                options=Options(opset=opset),
                inputs=None if source == folder else samples,
            )
            name = path.relative_to(folder).as_posix()
            advance(note=name)
            sidecars.append(sidecar)
            size = f"{sidecar.size_bytes / 1e6:.2f}"
            rows += [
                [name, size, task, f"{parity.max_rel_error:.1e}", f"{parity.bound:.1e}"]
                for task, parity in sidecar.verified.per_task.items()
            ]
    columns = ["file", "MB", "task", "relative error", "at most"]
    console.table(f"Run and compared in {sidecars[0].verified.runtime}", columns, rows)
    for sidecar in sidecars:
        selections = sidecar.verified.selections
        if selections and selections["flips"]:
            console.info(
                f"{sidecar.artefact}: rounding flipped {selections['flips']} of "
                f"{selections['num']} pool indices, all of them near-ties"
            )
    console.result(
        {
            "folder": folder,
            "target": target,
            "artefacts": [sidecar.model_dump(mode="json") for sidecar in sidecars],
        }
    )
