"""What an artefact takes and gives, by the sidecar beside it: some formats keep no names."""

from pathlib import Path

from compactmtl.board.errors import DamagedError
from compactmtl.board.files import read_json
from compactmtl.board.tensors import InputInfo


def read_interface(path: Path) -> tuple[tuple[InputInfo, ...], list[str]]:
    """Return the inputs and the names of the outputs, in order.

    Raises:
        AbsentError: There is no sidecar.
        DamagedError: It is none.
    """
    sidecar = path.with_name(path.name + ".json")
    document = read_json(sidecar)
    try:
        inputs = tuple(
            InputInfo(
                str(each["name"]),
                tuple(size if isinstance(size, int) else str(size) for size in each["shape"]),
                str(each["dtype"]),
            )
            for each in document["inputs"]
        )
        return inputs, [str(each["name"]) for each in document["outputs"]]
    except (KeyError, TypeError) as error:
        raise DamagedError(
            f"`{sidecar}` is not a sidecar of compactmtl", hint="export again"
        ) from error
