"""The channel compiler: capture, find dead channels, remove them, prove that nothing changed."""

from compactmtl.compiler.census import census
from compactmtl.compiler.compress import compress
from compactmtl.compiler.replay import replay
from compactmtl.compiler.stitch import stitch

__all__ = ["census", "compress", "replay", "stitch"]
