"""The channel compiler: capture, find dead channels, remove them, prove that nothing changed."""

from compactmtl.compiler.compress import compress

__all__ = ["compress"]
