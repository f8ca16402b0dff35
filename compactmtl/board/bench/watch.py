"""Who wants to know what runs when: a sampler of power and clocks, for one."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, Protocol

from compactmtl.board.bench.thermometer import LINUX, Source

Kind = Literal["timing", "alone"]
"""All candidates in turns, or one candidate back to back."""


class Watch(Protocol):
    """Is told what is done when."""

    def window(self, kind: Kind, name: str = "") -> AbstractContextManager[Callable[[], None]]:
        """Note that the block is one window; what it yields counts one inference."""

    @property
    def thermometer(self) -> Source:
        """What tells how warm the device is now."""


class Unwatched:
    """Notes nothing."""

    @contextmanager
    def window(self, kind: Kind, name: str = "") -> Iterator[Callable[[], None]]:
        """Yield what counts nothing."""
        yield lambda: None

    @property
    def thermometer(self) -> Source:
        """Return what Linux tells of this machine."""
        return LINUX
