"""Cost tables that ship, as `compactmtl calibrate` wrote them."""

from pathlib import Path

DEFAULT = Path(__file__).parent / "x86-64-avx512.json"
"""What compress chooses by on machines for which it is given no table."""
