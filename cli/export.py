"""The verb `export`."""

from compactmtl.cli.console import console
from compactmtl.cli.export_engine_options import (
    Batch,
    Capabilities,
    HardwareCompatible,
    Host,
    Size,
    VersionCompatible,
    Workspace,
)
from compactmtl.cli.export_options import (
    Dense,
    Install,
    List,
    Opset,
    Simplify,
    Target,
    make_options,
)
from compactmtl.cli.export_precision import Calibration, MaxDrop, Precision
from compactmtl.cli.options import DEFAULT_FOLDER, CompactFolder, Debug, Json, Quiet


def export(
    folder: CompactFolder = DEFAULT_FOLDER,
    *,
    target: Target = "onnx",
    list_: List = False,
    install: Install = False,
    dense: Dense = True,
    opset: Opset = None,
    simplify: Simplify = False,
    precision: Precision = "fp32",
    calibration: Calibration = None,
    max_drop: MaxDrop = None,
    batch: Batch = None,
    size: Size = None,
    workspace: Workspace = None,
    compute_capability: Capabilities = None,
    version_compatible: VersionCompatible = False,
    hardware_compatible: HardwareCompatible = False,
    host: Host = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Write the compact model and its dense twin for a runtime.

    Reads the folder that `compress` wrote and writes into it: model.onnx, dense.onnx, a sidecar
    beside each (model.onnx.json: interface, parity, versions, SHA-256 of the parent), and
    reference.npz with stored inputs and the outputs they must give. Variants that `compress
    --variants` wrote are exported the same way, each in its folder under variants/.

    Inputs and outputs keep their names (outputs are the tasks); batch, height and width stay free
    where they were. Each file is run and compared with the model, per task, before it is written:
    its error against fp64 is at most 4 times that of torch in fp32. Engines are built from such an
    ONNX file (model.trt.onnx) and take the batch and image sizes that --batch and --size say.
    Without TensorRT or --host, --target tensorrt prepares the files a board builds from; exit 3.

    fp16 and int8 live in the ONNX graph (model.int8.onnx); per task, the relative RMS is shown and,
    where the model's validation data is at hand, the change of its own metric.

    Examples:
      compactmtl export
      compactmtl export compact/ --no-dense --json
      compactmtl export --target tensorrt-rtx --batch 1:4:16 --compute-capability 8.9
      compactmtl export --precision int8 --calibration rooms --max-drop seg=0.01
      compactmtl export --target litert --install
      compactmtl export --list
    """
    from compactmtl.cli.export_install import install_converter
    from compactmtl.cli.export_jobs import make_jobs, write_jobs, write_wholes
    from compactmtl.cli.export_list import show_targets
    from compactmtl.cli.export_table import say_prepared, show_artefacts
    from compactmtl.export import find_target

    if list_:
        show_targets()
        return 0
    options = make_options(
        opset=opset,
        simplify=simplify,
        precision=precision,
        calibration=calibration,
        max_drop=max_drop,
        batch=batch,
        size=size,
        workspace=workspace,
        compute_capabilities=compute_capability,
        version_compatible=version_compatible,
        hardware_compatible=hardware_compatible,
        host=host,
    )
    exporter = find_target(target)
    options.check_taken(target, exporter.takes, exporter.precisions)
    if install:
        only = folder == DEFAULT_FOLDER and not folder.exists()
        install_converter(exporter, None if only else folder)
        if only:
            return 0
    jobs = make_jobs(folder, exporter, options.precision, dense=dense)
    written = write_jobs(jobs, folder, target, options)
    written += write_wholes(folder, target, options, dense=dense)
    show_artefacts(written, folder)
    artefacts = [sidecar.model_dump(mode="json") for _, sidecar in written]
    console.result({"folder": folder, "target": target, "artefacts": artefacts})
    return say_prepared(written)
