"""Say in one line where the memory ran out, and what would need less."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from compactmtl.compiler.passes import Passes
from compactmtl.errors import ResourceError

# What torch's allocators and the operating system say.
_WORDS = ("can't allocate memory", "not enough memory", "out of memory", "Cannot allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out: torch raises plain RuntimeErrors for it."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _WORDS)


@contextmanager
def memory_errors(passes: Passes) -> Iterator[None]:
    """Turn what torch raises where memory runs out into one line.

    Raises:
        ResourceError: With the step that was running and the size that it asked for.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        asked = re.search(r"allocate (\d+) bytes", str(error))
        size = f", which asked for {int(asked.group(1)) / 2**30:,.1f} GiB at once" if asked else ""
        raise ResourceError(
            f"not enough memory in step `{passes.current}`{size}; nothing was written",
            hint="give a smaller --input, fewer verification images, or a part at a time "
            "(--part); verification takes about 5 times the weights and one forward pass of the "
            "network in float64",
        ) from error
