"""Run with ``python -m compactmtl.board``."""

import sys

from compactmtl.board.command import main

if __name__ == "__main__":
    sys.exit(main())
