"""The command line: one verb per file."""

if __name__ != "compactmtl.cli":
    raise ImportError("import compactmtl.cli, not cli: a second copy would break isinstance")
