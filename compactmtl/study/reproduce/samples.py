"""The data that a plan's recipes name: whether it is there, and whether it is the paper's."""

from dataclasses import dataclass

from compactmtl.errors import DataError
from compactmtl.recipe import Recipe
from compactmtl.study.reproduce.plan import Plan
from compactmtl.training.assemble import load_split
from compactmtl.training.reporter import Reporter

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Samples:
    """How many samples each split has.

    Attributes:
        counts: By split.
        differs: Why published values do not compare with ours; "" where they do.
    """

    counts: dict[str, int]
    differs: str


def check_samples(plan: Plan, reporter: Reporter) -> Samples:
    """Build every split that the plan's rows train and score on, and read a sample of each.

    Raises:
        DataError: A split is empty, or files do not belong together.
        CompactMTLError: What the data set itself raises.
    """
    found: dict[str, dict[str, int]] = {}
    for planned in plan.rows:
        data = planned.subject.recipe.data
        key = f"{data.name} {sorted(data.args.items())}"
        if key not in found:
            found[key] = _count(planned.subject.recipe, reporter)
    counts = next(iter(found.values()))
    return Samples(counts, _differs(plan, list(found.values())))


def _count(recipe: Recipe, reporter: Reporter) -> dict[str, int]:
    counts = {}
    for split in SPLITS:
        data = load_split(recipe, split, reporter)
        if len(data) == 0:
            raise DataError(f"the {split} split of `{recipe.data.name}` is empty")
        data[0]
        counts[split] = len(data)
    return counts


def _differs(plan: Plan, found: list[dict[str, int]]) -> str:
    if plan.trial:
        return f"tried on {plan.trial}, the paper's is {plan.table.data}"
    expected = plan.table.samples
    if expected is None:
        return "the paper does not say how many samples it has"
    for counts in found:
        train, val, test = (counts[split] for split in SPLITS)
        if expected["train"] not in (train, train + val):
            return f"{train} train and {val} val samples here, the paper's {expected['train']}"
        if expected["test"] != test:
            return f"{test} test samples here, the paper's {expected['test']}"
    return ""
