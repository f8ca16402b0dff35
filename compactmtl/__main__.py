"""Run the program as ``python -m compactmtl``."""

from compactmtl.cli.app import main

if __name__ == "__main__":
    main()
