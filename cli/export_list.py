"""What `export --list` shows: each target, what it can do here, and what we have seen of it."""

from dataclasses import asdict

from compactmtl.cli.console import console


def show_targets() -> None:
    """Print every target; nothing heavy is imported and nothing is written."""
    from compactmtl.export import TARGETS, find_target

    targets = []
    rows = []
    for name in TARGETS:
        exporter = find_target(name)
        here = exporter.availability()
        extra = f'pip install "compactmtl[{exporter.extra}]"' if exporter.extra else ""
        targets.append(
            {
                "target": name,
                "extra": exporter.extra,
                "precisions": exporter.precisions,
                "evidence": exporter.evidence,
                **asdict(here),
            }
        )
        runs = "yes" if here.runs_here else "no"
        precisions = " ".join(exporter.precisions)
        rows.append(
            (name, here.version or extra or "no", runs, precisions, exporter.evidence, here.why_not)
        )
    columns = ("target", "installed", "runs here", "precisions", "seen by us", "note")
    console.table("", columns, rows)
    console.result({"targets": targets})
