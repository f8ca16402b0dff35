"""What is trained: data sets, systems, and in what each system differs from the dense network."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
LEARNING_RATES = (1e-3, 3e-3, 1e-2)
MIDDLE = LEARNING_RATES[1]
TUNING_SEED = 0
BASELINE = "dense"

Settings = tuple[str, ...]

# No decay anywhere: Frobenius decay belongs to the factorised methods and would be a second
# difference from the dense network.
_FACTORS: Settings = ("overparam.frobenius=0",)
_UMV: Settings = ("overparam.method=umv", "overparam.m_lr=1e-2", *_FACTORS)

SYSTEMS: dict[str, Settings] = {
    BASELINE: (),
    "fac": _UMV,
    "fac-no-iter": (*_UMV, "overparam.iterative=none"),
    "mshare": ("overparam.method=mshare", "overparam.m_lr=1e-2", *_FACTORS),
    "uvshare": ("overparam.method=uvshare", "overparam.m_lr=1e-2", *_FACTORS),
    "repvgg": ("overparam.method=repvgg",),
    "expandnet": ("overparam.method=expandnet", *_FACTORS),
    "doconv": ("overparam.method=doconv", *_FACTORS),
    "fnl": ("overparam.method=fnl", *_FACTORS),
}
MULTI_NETWORK: dict[str, Settings] = {
    "cross-stitch": ("model.name=cross_stitch",),
    "mtan": ("model.name=mtan_segnet",),
    "mtan-fac": ("model.name=mtan_segnet", *_UMV),
}


@dataclass(frozen=True)
class Study:
    """One data set and what is trained on it; the recipe beside this file holds the rest."""

    recipe: Path
    systems: Mapping[str, Settings]


STUDIES = {
    "rooms": Study(HERE / "rooms.toml", SYSTEMS | MULTI_NETWORK),
    "cifar": Study(
        HERE / "cifar.toml", {name: SYSTEMS[name] for name in (BASELINE, "fac", "fnl", "repvgg")}
    ),
    "nuclei": Study(HERE / "nuclei.toml", SYSTEMS | MULTI_NETWORK),
}


@dataclass(frozen=True)
class Cell:
    """One training run of the plan."""

    study: str
    system: str
    lr: float
    seed: int

    @property
    def label(self) -> str:
        """The name of its folder."""
        return f"{self.system}-lr{self.lr:g}"

    @property
    def settings(self) -> Settings:
        """In what it differs from the study's recipe, but for the seed."""
        return (*STUDIES[self.study].systems[self.system], f"train.lr={self.lr}")
