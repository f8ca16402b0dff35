"""Run the program as ``python -m compactmtl``."""

import sys


def main() -> None:
    """Run the program; Ctrl-C while it is still being imported is one line, too."""
    try:
        from compactmtl.cli.app import main as program
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        sys.exit(130)
    program()


if __name__ == "__main__":
    main()
