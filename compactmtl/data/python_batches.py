"""Reading CIFAR's files: pickles, of which only numbers, text and arrays are taken."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from compactmtl.errors import CorruptFileError, MissingFileError, UnsafeFileError

try:
    from numpy._core.multiarray import _reconstruct
except ImportError:  # numpy before 2
    from numpy.core.multiarray import _reconstruct  # type: ignore[no-redef]


def _encode(text: str, encoding: str) -> bytes:
    """Return bytes as Python 3 writes them in this protocol; any other encoding is refused."""
    if encoding != "latin1":
        raise UnsafeFileError(f"the file encodes text as `{encoding}`, expected latin1")
    return text.encode("latin1")


ALLOWED = {
    ("_codecs", "encode"): _encode,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
"""All that an array of numbers needs; it makes no call that the file could choose."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise UnsafeFileError(
                f"the file asks for `{module}.{name}`, which could run code; expected numbers, "
                "text and arrays",
                hint="fetch the original file again",
            )
        return ALLOWED[module, name]


def read_python_batch(path: Path) -> dict[str, Any]:
    """Read one file of the "python version" of CIFAR.

    Returns:
        Its dictionary with the keys as text.

    Raises:
        MissingFileError: There is no such file, or it is not readable.
        UnsafeFileError: It asks for anything but numbers, text and arrays.
        CorruptFileError: It is damaged, or no such file.
    """
    try:
        with path.open("rb") as file:
            content = _Unpickler(file, encoding="bytes").load()
    except FileNotFoundError as error:
        raise MissingFileError(
            f"no such file: `{path}`", hint="`compactmtl data check DIR` says what is missing"
        ) from error
    except PermissionError as error:
        raise MissingFileError(f"cannot read `{path}`: {error.strerror}") from error
    except UnsafeFileError as error:
        raise UnsafeFileError(f"`{path}`: {error.message}", hint=error.hint) from error
    except Exception as error:  # unpickling a damaged file raises nearly anything
        raise CorruptFileError(
            f"`{path}` is damaged or no CIFAR file: {' '.join(str(error).split())}",
            hint="fetch it again",
        ) from error
    if not isinstance(content, dict):
        raise CorruptFileError(f"`{path}` holds a {type(content).__name__}, expected a dictionary")
    return {k.decode() if isinstance(k, bytes) else str(k): v for k, v in content.items()}
