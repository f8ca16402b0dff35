"""Build a TensorRT engine on another machine: the ONNX file goes there, the engine comes back."""

from pathlib import Path

from pydantic import ValidationError

from compactmtl.board.artefact import describe_source, plan_build, sidecar_path
from compactmtl.board.bindings import FLAVOURS
from compactmtl.board.files import sha256, write_together
from compactmtl.board.prepared import PREPARED, prepared_bytes
from compactmtl.board.recipe import BuildRecipe
from compactmtl.errors import CorruptFileError
from compactmtl.export.board_errors import translated
from compactmtl.export.on_board import call, on_board
from compactmtl.export.sidecar import Sidecar
from compactmtl.remote.ssh import Host


def build_on_host(
    host: Host, source: Path, path: Path, recipe: BuildRecipe, *, flavour: str = FLAVOURS[0]
) -> Sidecar:
    """Build an engine on a host and bring it back with its sidecar; both or none are written.

    The host needs Python 3.10, numpy and TensorRT. What is sent lies in a temporary folder there
    and is removed afterwards, whatever happened.

    Args:
        host: The machine that is to run the engine, or one just like it.
        source: The checked ONNX file, its sidecar beside it.
        path: Where the engine goes.
        recipe: Settings of the build.
        flavour: Which TensorRT builds.

    Raises:
        NotPossibleHereError: The host does not answer, or has no Python.
        CompactMTLError: What the build says there, with the exit code it had there.
        CorruptFileError: What came back is not what was built.
    """
    with translated():
        file, _, _ = plan_build(source, recipe)
        describe_source(file)
    entry = {"onnx": source.name, "sha256": file.sha256, "recipe": recipe.to_dict()}
    sidecar = sidecar_path(source)
    files: dict[str, Path | bytes] = {
        PREPARED: prepared_bytes({path.name: entry}),
        source.name: source,
    }
    if sidecar.is_file():
        files[sidecar.name] = sidecar
    verb = ["build", PREPARED] + ["--flavour", flavour] * (flavour != FLAVOURS[0])
    with on_board(host, files) as folder:
        call(folder, verb)
        found = folder.fetch([path.name, sidecar_path(path).name])
    plan, described = found[path.name], found[sidecar_path(path).name]
    checked = _read(host, described, path.name)
    for what, stated, got in (
        ("an engine", checked.sha256, sha256(plan)),
        ("an engine of", checked.parent.sha256, file.sha256),
    ):
        if stated != got:
            raise CorruptFileError(
                f"`{host.address}` sent {what} SHA-256 {got[:12]}, its sidecar says "
                f"{str(stated)[:12]}",
                hint="try again",
            )
    with translated():
        write_together({sidecar_path(path): described, path: plan})
    return checked


def _read(host: Host, content: bytes, name: str) -> Sidecar:
    try:
        return Sidecar.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the document"
        raise CorruptFileError(
            f"what `{host.address}` sent with `{name}` is not a sidecar: {place}: {first['msg']}"
        ) from error
