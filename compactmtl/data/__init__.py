"""Data sets: images with a target per task; one data set per file."""

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from compactmtl.errors import UsageError
from compactmtl.parts import nearest

if TYPE_CHECKING:
    from compactmtl.data.dataset import MultiTaskDataset
    from compactmtl.multitask.task import Task

__all__ = ["DATASETS", "BuiltInDataset"]


class _DatasetClass(Protocol):
    def __call__(self, split: str, **args: object) -> "MultiTaskDataset": ...

    def declared_tasks(self, **args: object) -> "Mapping[str, Task]": ...


@dataclass(frozen=True)
class BuiltInDataset:
    """A data set's class, imported when it is first used: listing names needs no torch."""

    name: str
    module: str
    attribute: str
    folder: str = ""
    """Its folder among the user's data sets, where that is not called after it."""
    splits: tuple[str, ...] = ("train", "val", "test")

    def load(self) -> _DatasetClass:
        """Import and return the class."""
        return cast("_DatasetClass", getattr(importlib.import_module(self.module), self.attribute))

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.load())

    def __call__(self, split: str, **args: object) -> "MultiTaskDataset":
        """Build the data set.

        Raises:
            UsageError: It has no such argument, or a value is out of its range.
            CompactMTLError: What the data set itself raises.
        """
        known = [name for name in self.__signature__.parameters if name != "split"]
        for given in args:
            if given not in known:
                raise UsageError(
                    f"data set `{self.name}` has no argument `{given}`{nearest(given, known)}",
                    hint=f"arguments: {', '.join(known)}",
                )
        for parameter in self.__signature__.parameters.values():
            if parameter.default is parameter.empty and parameter.name not in ("split", *args):
                raise UsageError(
                    f"data set `{self.name}` needs its argument `{parameter.name}`",
                    hint=f"set data.args.{parameter.name} in a recipe, and give that recipe",
                )
        return self.load()(split, **args)

    def declared_tasks(self, **args: object) -> "dict[str, Task]":
        """Return the tasks the data set has targets for; touches no disk."""
        return dict(self.load().declared_tasks(**args))


DATASETS: "dict[str, BuiltInDataset]" = {
    entry.name: entry
    for entry in (
        BuiltInDataset("rooms", "compactmtl.data.rooms", "Rooms"),
        BuiltInDataset("rooms_instances", "compactmtl.data.rooms_instances", "RoomsInstances"),
        BuiltInDataset("nuclei_128", "compactmtl.data.nuclei", "Nuclei"),
        BuiltInDataset(
            "nuclei_instances", "compactmtl.data.nuclei_instances", "NucleiInstances", "nuclei_128"
        ),
        BuiltInDataset("coco", "compactmtl.data.coco", "Coco"),
        BuiltInDataset("camvid_160x120", "compactmtl.data.camvid", "CamVid"),
        BuiltInDataset("nyuv2", "compactmtl.data.nyuv2", "NyuV2"),
        BuiltInDataset("nyuv2_mat", "compactmtl.data.nyuv2_mat", "NyuV2Mat", "nyuv2"),
        BuiltInDataset("nyud", "compactmtl.data.nyud", "Nyud", "NYUD_MT"),
        BuiltInDataset(
            "celebamask_hq", "compactmtl.data.celebamask", "CelebAMaskHq", "CelebAMask-HQ"
        ),
        BuiltInDataset("shards", "compactmtl.data.shards", "Shards"),
        BuiltInDataset("cifar100", "compactmtl.data.cifar100", "Cifar100", "cifar-100-python"),
        BuiltInDataset("cifar100_subset", "compactmtl.data.cifar100", "Cifar100Subset"),
    )
}
"""The built-in data sets by the name a recipe uses; called as ``factory(split, **args)``."""
