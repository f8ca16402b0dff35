"""What `compactmtl reproduce` knows before it runs anything: tables, readings, a plan."""

from compactmtl.cli.console import console
from compactmtl.study.reproduce.plan import Plan
from compactmtl.study.reproduce.presets import Quirk
from compactmtl.study.reproduce.readings import readings
from compactmtl.study.reproduce.status import status
from compactmtl.study.reproduce.tables import tables


def show_tables() -> None:
    """Print every table and figure of the papers, what it needs and whether it can be run."""
    found = [
        {
            "id": table.id,
            "title": table.title,
            "source": table.source,
            "data": table.data or None,
            "rows": [row.label for row in table.rows],
            "status": status(table),
        }
        for table in tables().values()
    ]
    console.table(
        "",
        ["id", "what it shows", "data", "rows", "status"],
        [[t["id"], t["title"], t["data"], len(t["rows"] or ()), t["status"]] for t in found],
    )
    console.result({"tables": found})


def show_reading(name: str) -> None:
    """Print one reading."""
    reading = readings()[name]
    console.table(
        f"{reading.id}: {reading.title}",
        ["", ""],
        [
            ["the paper", reading.paper],
            ["unclear", reading.unclear],
            ["the library", reading.library],
            ["switch", ", ".join(reading.switch) or None],
            ["source", reading.source],
        ],
    )
    console.result({"reading": vars(reading)})


def show_plan(plan: Plan) -> None:
    """Print the rows with their quirks, and every quirk with its reading and settings."""
    console.info(f"{plan.table.id}: {plan.table.title} ({plan.table.source})")
    if plan.trial:
        console.info(f"tried on `{plan.trial}`: no published value compares with what comes out")
    console.table(
        f"rows, preset {plan.preset}",
        ["row", "as printed", "recipe", "with", "quirks"],
        [
            [
                planned.row.label,
                planned.row.name,
                planned.row.recipe,
                " ".join(planned.row.settings) or None,
                ", ".join(quirk.name for quirk in planned.quirks) or None,
            ]
            for planned in plan.rows
        ],
    )
    for label, why in plan.left_out.items():
        console.info(f"left out: {label} {why}")
    lines = [[q["quirk"], q["reading"], q["what"], q["how"]] for q in quirk_lines(plan)]
    if lines:
        console.table("quirks", ["quirk", "reading", "what", "how"], lines)


def quirk_lines(plan: Plan) -> list[dict[str, str]]:
    """Return the quirks of a plan with how each is done, or why it is not."""
    applied = {quirk.name: quirk for planned in plan.rows for quirk in planned.quirks}
    done = [(quirk, _how(plan, quirk)) for quirk in applied.values()]
    missed = [(quirk, f"not reproduced: {quirk.why_not}") for quirk in plan.not_reproduced]
    return [
        {"quirk": quirk.name, "reading": quirk.reading, "what": quirk.says, "how": how}
        for quirk, how in (*done, *missed)
    ]


def _how(plan: Plan, quirk: Quirk) -> str:
    """Return a quirk's settings, with the rows where they are not the same in all."""
    rows: dict[str, list[str]] = {}
    for planned in plan.rows:
        if quirk in planned.quirks:
            settings = " ".join(f"--set {s}" for s in quirk.settings(plan.table.cell(planned.row)))
            rows.setdefault(settings, []).append(planned.row.label)
    if len(rows) == 1:
        return next(iter(rows))
    return "; ".join(f"{', '.join(labels)}: {settings}" for settings, labels in rows.items())
