"""The zip application that goes to a board: ``compactmtl.board`` and nothing else."""

import io
import zipfile
from pathlib import Path

from compactmtl.board import files as of_the_board

NAME = "board.pyz"
MAIN = """import sys
if sys.version_info < (3, 10):
    sys.stderr.write("error: Python %d.%d is too old, " % sys.version_info[:2])
    sys.stderr.write("expected 3.10 or later\\nhint: JetPack 6 and later have it\\n")
    sys.exit(2)
from compactmtl.board.command import main
sys.exit(main())
"""
"""Asked before anything is imported that an old Python cannot read."""
STAMP = (1980, 1, 1, 0, 0, 0)
"""One time for all entries: the same code gives the same bytes."""


def make_application() -> bytes:
    """Return the application; ``python3 board.pyz`` runs it on Python 3.10 with numpy."""
    folder = Path(of_the_board.__file__).parent
    files = {"__main__.py": MAIN, "compactmtl/__init__.py": ""}
    files |= {
        f"compactmtl/board/{path.relative_to(folder).as_posix()}": path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*.py"))
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, STAMP), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
