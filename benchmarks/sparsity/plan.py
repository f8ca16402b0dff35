"""What is trained: data sets, systems, and in what each system differs from the dense network."""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from compactmtl.models.recipes import load
from compactmtl.study.controls import with_controls
from compactmtl.study.subjects import Subject

HERE = Path(__file__).parent
STUDIES = ("rooms", "cifar", "nuclei")
BASELINE, MIDDLE = "dense", "sparse-70"
EPOCHS = 20

Settings = tuple[str, ...]

# lam is where the controller starts; all else of the penalty is the recipes' default.
_SPARSE: Settings = ("sparsity.lam=1e-3", "sparsity.stop=0.6")


def _target(percent: int) -> Settings:
    return (*_SPARSE, f"sparsity.target={percent / 100}")


def _finetune(share: float) -> Settings:
    """Return the recipe sparse-finetune at a share of the dense run's epochs, from that run."""
    return (
        *_target(70), "sparsity.lam_rel=0.3", f"train.init=@{BASELINE}", "train.lr=1e-3",
        f"train.epochs={round(share * EPOCHS)}", "train.distill=0.1",
    )  # fmt: skip


SYSTEMS: dict[str, Settings] = {
    BASELINE: (),
    "sparse-50": _target(50),
    MIDDLE: _target(70),
    "sparse-85": _target(85),
    "l1-70": (*_target(70), "sparsity.by=weight"),
    "fac-sparse-70": (*_target(70), "overparam.until=0.6", "overparam.m_lr=1e-2"),
    "finetune-10": _finetune(0.10),
    "finetune-25": _finetune(0.25),
}


@dataclass(frozen=True)
class Cell:
    """One training run of the plan."""

    study: str
    system: str
    seed: int


@cache
def subjects(study: str) -> dict[str, Subject]:
    """Return all systems of a study, the controls of the middle one after it."""
    recipe = str(HERE / f"{study}.toml")
    found = {name: Subject(name, load(recipe, own)) for name, own in SYSTEMS.items()}
    pair = [found[BASELINE], found[MIDDLE]]
    controls = {each.label: each for each in with_controls(pair)[0][2:]}
    order = list(found)
    place = order.index(MIDDLE) + 1
    return {name: (found | controls)[name] for name in [*order[:place], *controls, *order[place:]]}


def fingerprint(study: str, system: str) -> str:
    """Return what tells one plan of a system from another: recipe, settings, and what it needs."""
    subject = subjects(study)[system]
    text = json.dumps(
        [
            (HERE / f"{study}.toml").read_text(encoding="utf-8"),
            SYSTEMS.get(system, ()),
            system if subject.control else "",
            [fingerprint(study, needed) for needed in subject.needs],
        ]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]
