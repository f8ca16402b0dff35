"""The runs of a study: one per subject and seed, each in a folder of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from compactmtl.errors import RefusedError
from compactmtl.files import make_folder, write_text
from compactmtl.lineage import REPORT
from compactmtl.recipe import to_toml
from compactmtl.study.subjects import Subject

EVALUATION, COMPACT = "evaluation", "compact"
RECIPE = "recipe.toml"
NOT_COMPILED = "not-compiled.txt"
"""Why a run has no compact folder, where the compiler could not make one."""
LAST_EXPORTED = "dense.onnx.json"
"""What `compactmtl export` writes last."""
LOG = "output.txt"
"""What a run's process printed, for when it fails."""

Stage = Literal["scored", "compiled", "exported"]
"""How far a run is taken. Where "compiled" is the end, a network that the compiler cannot take has
its reason kept instead; on the way to "exported" that is a failure."""


@dataclass(frozen=True)
class RunCell:
    """One run of a study.

    Attributes:
        subject: What it is a run of.
        seed: Its seed.
        folder: Its own.
        needs: Runs of the same seed that must be finished before, as ``subject.needs`` names them.
        until: How far it is taken.
    """

    subject: Subject
    seed: int
    folder: Path
    needs: tuple["RunCell", ...] = ()
    until: Stage = "scored"

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.subject.label}, seed {self.seed}"

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.folder / "run"

    @property
    def recipe(self) -> Path:
        """What it is trained by; where it needs other runs, what they say is filled in there."""
        return (self.folder if self.subject.needs else self.folder.parent) / RECIPE

    @property
    def scores(self) -> Path:
        """The file with its metrics on the test split."""
        return self.folder / EVALUATION / "evaluation.json"

    @property
    def compact(self) -> Path:
        """The folder with its compiled model."""
        return self.folder / COMPACT

    @property
    def cost(self) -> Path:
        """What the compiler says of it."""
        return self.compact / REPORT

    @property
    def not_compiled(self) -> Path:
        """What the compiler said where it could not compile it."""
        return self.folder / NOT_COMPILED

    @property
    def log(self) -> Path:
        """What its last process printed."""
        return self.folder / LOG

    @property
    def is_done(self) -> bool:
        """Whether it was trained to the end, scored, and taken as far as it is to be."""
        left = {
            "scored": (),
            "compiled": (self.cost, self.not_compiled),
            "exported": (self.compact / LAST_EXPORTED,),
        }[self.until]
        return self.scores.is_file() and (not left or any(path.is_file() for path in left))


def plan_cells(
    subjects: Sequence[Subject], seeds: int, root: Path, *, until: Stage = "scored"
) -> list[RunCell]:
    """Return all runs, seed by seed, so that a study that is stopped early has whole pairs.

    Nothing is written.

    Args:
        subjects: Each after those that it needs.
        seeds: Their number.
        root: The study's folder.
        until: How far runs are taken.

    Raises:
        RefusedError: The folder holds another recipe under the same label.
    """
    for subject in subjects:
        path = root / subject.label / RECIPE
        if path.is_file() and path.read_text(encoding="utf-8") != to_toml(subject.recipe):
            raise RefusedError(
                f"`{path}` is another recipe than `{subject.label}` is now",
                hint="choose another --out or another label; its runs would be mixed",
            )
    cells: list[RunCell] = []
    for seed in range(seeds):
        of_seed: dict[str, RunCell] = {}
        for subject in subjects:
            needs = tuple(of_seed[label] for label in subject.needs)
            folder = root / subject.label / f"seed-{seed}"
            of_seed[subject.label] = RunCell(subject, seed, folder, needs, until)
        cells += of_seed.values()
    return cells


def make_cells(
    subjects: Sequence[Subject], seeds: int, root: Path, *, until: Stage = "scored"
) -> list[RunCell]:
    """Do as ``plan_cells``, and keep each subject's recipe: what a label means must not change.

    Raises:
        RefusedError: As ``plan_cells``.
        WriteError: The folder cannot be written.
    """
    cells = plan_cells(subjects, seeds, root, until=until)
    for subject in subjects:
        path = root / subject.label / RECIPE
        make_folder(path.parent)
        write_text(path, to_toml(subject.recipe))
    return cells
