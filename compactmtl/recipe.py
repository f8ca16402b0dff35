"""A training recipe: what a run does, as TOML, checked before anything starts."""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from compactmtl.errors import MissingFileError, RecipeError
from compactmtl.files import read_error
from compactmtl.parts import nearest

_SPARSE_TOO = ("umv", "mshare", "fnl")
"""Methods whose kernel is a product of two matrices: input channels can be made zero through V."""
_EVERY = re.compile(r"([0-9]+(?:\.[0-9]+)?) (steps?|minutes?)")
_WORKING = "see `compactmtl recipes NAME` for a recipe that works"


class Section(BaseModel):
    """One table of a recipe: frozen, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSection(Section):
    """The network: a name from ``compactmtl.models`` or ``package.module:factory``.

    A factory is called as ``factory(tasks, **args)`` with ``tasks`` a dict from task name to the
    number of channels of its head.
    """

    name: str
    args: dict[str, Any] = {}
    encoder: tuple[str, ...] | None = None
    """Patterns of the shared encoder's layers; None: what the network declares."""
    head_reads: tuple[str, ...] | None = None
    """Patterns of the head layers that read the encoder; None: what the network declares."""
    pretrained: str | None = None
    """A file of a ResNet's weights, under torchvision's names, for the encoder."""
    pretrained_images: Literal["imagenet", "plain"] = "imagenet"
    """What it was trained on: images normalised as torchvision does, or in 0 to 1."""


class DataSection(Section):
    """The data set: a name from ``compactmtl.data`` or ``package.module:factory``.

    A factory is called as ``factory(split, **args)`` with split "train", "val" or "test".
    """

    name: str
    args: dict[str, Any] = {}
    batch_size: int = Field(default=8, ge=1)
    num_workers: int = Field(default=0, ge=0)


class TaskSection(Section):
    """One task; ``kind`` None takes the data set's own declaration."""

    kind: str | None = None
    weight: float = Field(default=1.0, ge=0.0)
    args: dict[str, Any] = {}


class WeightingSection(Section):
    """How the losses become one: a word of ``compactmtl.multitask.weightings``, or your own."""

    name: str = "fixed"
    args: dict[str, Any] = {}


class TrainSection(Section):
    """Epochs, optimiser (AdamW) and schedule."""

    epochs: int = Field(default=10, ge=1)
    lr: float = Field(default=1e-3, gt=0.0)
    weight_decay: float = Field(default=0.0, ge=0.0)
    decay: Literal["decoupled", "coupled"] = "decoupled"
    """Whether decay is apart from Adam's step (AdamW), or part of the gradient, as in plain Adam:
    the optimiser of paper B's dense baselines."""
    lr_schedule: Literal["constant", "cosine", "steps"] = "cosine"
    lr_milestones: tuple[float, ...] = ()
    """Shares of all epochs after which ``steps`` multiplies the learning rate by ``lr_gamma``."""
    lr_gamma: float = Field(default=0.5, gt=0.0, lt=1.0)
    warmup_steps: int = Field(default=0, ge=0)
    clip_norm: float | None = Field(default=None, gt=0.0)
    init: str | None = None
    """A file of weights to start from."""
    keep_best: bool = False
    """Whether to keep ``best.pt``, the epoch that was best on the validation split, too."""
    distill: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    """Weight of staying close to the outputs of the network of ``init``."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"] = "32-true"
    device: str = "auto"
    accumulate: int | None = Field(default=None, ge=1)
    """Micro-batches that each batch is divided into; their gradients add up to one step. Several
    processes share them out. None: one for each process."""
    checkpoint_every: str | None = None
    """Save within epochs too: ``200 steps``, ``10 minutes``. None: after each epoch alone."""
    channels_last: bool = False
    """Lay images and feature maps out with their channels next to each other: often faster on GPUs
    with 16-bit precision, and on CPUs."""
    compile: bool = False
    """Train through ``torch.compile``: the first steps take minutes. Validation is not compiled."""

    @property
    def every_steps(self) -> int | None:
        """The steps of ``checkpoint_every``; None if it is unset or counts minutes."""
        number, unit = self._every
        return int(number) if unit == "step" else None

    @property
    def every_seconds(self) -> float | None:
        """The minutes of ``checkpoint_every`` in seconds; None if it is unset or counts steps."""
        number, unit = self._every
        return 60.0 * number if unit == "minute" else None

    @property
    def _every(self) -> tuple[float, str]:
        found = _EVERY.fullmatch(self.checkpoint_every or "")
        return (float(found[1]), found[2].rstrip("s")) if found else (0.0, "")

    @field_validator("checkpoint_every")
    @classmethod
    def _a_number_of_steps_or_minutes(cls, text: str | None) -> str | None:
        found = None if text is None else _EVERY.fullmatch(text)
        whole = found is not None and (found[2].startswith("minute") or found[1].isdigit())
        if text is not None and not (found and whole and float(found[1]) > 0):
            raise ValueError(
                'expected a number above 0 and its unit, as in "200 steps" or "10 minutes"'
            )
        return text

    @model_validator(mode="after")
    def _settings_belong_together(self) -> Self:
        if (self.lr_schedule == "steps") != bool(self.lr_milestones):
            raise ValueError(
                f"lr_milestones (={list(self.lr_milestones)}) go with lr_schedule 'steps' and no "
                f"other (got '{self.lr_schedule}')"
            )
        if not all(0.0 < share < 1.0 for share in self.lr_milestones):
            raise ValueError(
                f"lr_milestones (={list(self.lr_milestones)}) must be shares of all epochs, "
                "between 0 and 1"
            )
        return self


class OverparamSection(Section):
    """Overparameterisation of the encoder during the first ``until`` of all epochs."""

    method: str = "umv"
    layers: tuple[str, ...] | None = None
    """Layer patterns, with ``!`` in front those to leave out, or the rules ``all_but_final`` and
    ``bottleneck_first``; None: the encoder."""
    until: float = Field(default=1.0, gt=0.0, le=1.0)
    ratio: float | None = Field(default=None, ge=1.0)
    """How large the factors are; None: the method's own (1, for expandnet 4)."""
    init: Literal["spectral", "direct"] = "spectral"
    grouped: Literal["dense", "by_group"] = "dense"
    """Whether grouped convolutions stay as they are, or each group has factors of its own."""
    iterative: Literal["subset", "minibatch", "none"] | None = None
    """How the factors of single tasks are trained: once per epoch on a subset, in every step from
    one shared forward pass, or with everything else. None: ``subset`` where there are any."""
    subset: float | None = Field(default=None, gt=0.0)
    """What each task's m is trained on, once per epoch: up to 1 a share of the training samples,
    above 1 a number of samples; None: 0.03."""
    m_lr: float | None = Field(default=None, gt=0.0)
    """Learning rate of m; None: ``train.lr``."""
    frobenius: float | None = Field(default=None, ge=0.0)
    """Decay of the contracted kernels; None: 1e-4. ``repvgg`` has none: it is not made of factors.
    """

    @model_validator(mode="after")
    def _subset_is_a_share_or_a_number(self) -> Self:
        if self.subset is not None and self.subset > 1 and self.subset != int(self.subset):
            raise ValueError(
                f"subset (={self.subset}) must be a share up to 1 or a whole number of samples"
            )
        return self


class SparsitySection(Section):
    """Group sparsity between ``start`` and ``stop`` (fractions of all epochs), then debias."""

    schedule: Literal["constant", "ramp", "target", "once"] = "target"
    """``once``: no penalty; at ``start`` the groups of the smallest norms become zero, ``target``
    of all, and stay so to the end."""
    lam: float = Field(default=1e-2, ge=0.0, allow_inf_nan=False)
    """Strength; for ``target`` the strength the controller starts from."""
    lam_rel: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    """The strength in units of the gradient's median rms at ``start``, in the place of ``lam``."""
    target: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Share of zero groups at which ``target`` stops; the mask is then frozen. On the way to any
    target one group of every layer stays, for a layer without any would cut the network in two."""
    target_macs: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Or: share of the multiplications that the compiled network has left."""
    target_latency_ms: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    """Or: the latency that the compiler's cost model predicts for the compiled network."""
    by: Literal["input", "filter", "weight"] = "input"
    """What becomes zero together: all that reads an input channel, a filter, or single weights."""
    l1_share: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Part of the penalty that goes to single weights (sparse-group)."""
    start: float = Field(default=0.0, ge=0.0, lt=1.0)
    stop: float = Field(default=0.5, gt=0.0, le=1.0)
    layers: tuple[str, ...] | None = None
    reads: tuple[str, ...] | None = None
    keep: tuple[str, ...] = ()
    """Patterns of layers that are never penalised."""
    metric: Literal["corrected", "reference"] = "corrected"


class CheckSection(Section):
    """What a finished run must have reached, or it ends with an error."""

    margin: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Each task's error is at most (1 - margin) times the best constant predictor's."""
    zero_groups: float | None = Field(default=None, ge=0.0, le=1.0)
    """Share of exactly-zero channel groups."""
    target: bool = True
    """The target of ``sparsity``, if it has one, within 2 points."""


class Recipe(Section):
    """A whole recipe.

    Source: the phases follow research on both papers: overparameterise first, contract, then
    sparsify, freeze the zero mask and train on (debias).
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Names the run folders, so no slashes."""
    description: str = ""
    seed: int = Field(default=0, ge=0, lt=2**32)
    model: ModelSection
    data: DataSection
    tasks: dict[str, TaskSection] = Field(min_length=1)
    weighting: WeightingSection = WeightingSection()
    train: TrainSection = TrainSection()
    overparam: OverparamSection | None = None
    sparsity: SparsitySection | None = None
    check: CheckSection | None = None

    @model_validator(mode="after")
    def _phases_do_not_contradict(self) -> Self:
        sparsity, overparam = self.sparsity, self.overparam
        if self.model.pretrained is not None and self.train.init is not None:
            raise ValueError(
                "model.pretrained and train.init both say what to start from: train.init would "
                "replace all weights"
            )
        if sparsity is not None:
            if sparsity.stop <= sparsity.start and sparsity.schedule != "once":
                raise ValueError(
                    f"sparsity.stop (={sparsity.stop}) must be greater than "
                    f"sparsity.start (={sparsity.start})"
                )
            targets = (sparsity.target, sparsity.target_macs, sparsity.target_latency_ms)
            num_targets = sum(target is not None for target in targets)
            if sparsity.schedule == "once" and (num_targets, sparsity.target) == (1, None):
                raise ValueError(
                    "schedule 'once' takes sparsity.target, the share of groups, and no cost"
                )
            if num_targets != (sparsity.schedule in ("target", "once")):
                raise ValueError(
                    f"one of sparsity.target (={targets[0]}), target_macs (={targets[1]}) and "
                    f"target_latency_ms (={targets[2]}) goes with schedule 'target', the first "
                    f"with 'once', and none with another (got schedule '{sparsity.schedule}')"
                )
            if sparsity.by == "weight" and num_targets and sparsity.target is None:
                raise ValueError(
                    "a target of cost goes with groups, not by 'weight': single zero weights make "
                    "no network smaller"
                )
        if sparsity is not None and overparam is not None and overparam.until > sparsity.start:
            plain = sparsity.by == "input" and sparsity.l1_share == 0
            if not plain or (overparam.method not in _SPARSE_TOO and ":" not in overparam.method):
                raise ValueError(
                    f"overparam.until (={overparam.until}) exceeds sparsity.start "
                    f"(={sparsity.start}): layers are sparse while they are expanded by "
                    f"{', '.join(_SPARSE_TOO)} alone, by input groups (got method "
                    f"'{overparam.method}', by '{sparsity.by}', l1_share {sparsity.l1_share:g})"
                )
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON data without unset values."""
        return self.model_dump(mode="json", exclude_none=True)


def parse(document: Mapping[str, Any], *, source: str) -> Recipe:
    """Check a recipe document.

    Raises:
        RecipeError: Unknown key (with the nearest name), wrong type, or a contradiction.
    """
    try:
        return Recipe.model_validate(dict(document))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = _keys_at(first["loc"][:-1])
            message = f"unknown key `{place}`{nearest(str(first['loc'][-1]), known)}"
            hint = f"keys here: {', '.join(sorted(known))}"
        else:
            got = first.get("input")
            shown = "" if isinstance(got, dict) or got is None else f" (got {got!r})"
            said = first["msg"].removeprefix("Value error, ")
            said = re.sub(r"dictionary or instance of \w+", "table", said)
            message = f"`{place}`: {said}{shown}" if place else said
            hint = _WORKING
        raise RecipeError(f"{source}: {message}", hint=hint) from error


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        MissingFileError: There is no such file, or it is not readable.
        RecipeError: It is not TOML; the message has line and column.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MissingFileError(
            f"no such recipe file: `{path}`", hint="`compactmtl recipes` lists the named ones"
        ) from error
    except OSError as error:
        raise read_error(path, error) from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not TOML: {error}", hint=_WORKING) from error
    return parse_toml(text, source=str(path))


def parse_toml(text: str, *, source: str) -> dict[str, Any]:
    """Parse TOML text.

    Raises:
        RecipeError: It is not TOML; the message has line and column.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{source}: not TOML: {error}", hint=_WORKING) from error


def override(document: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """Return ``document`` with ``a.b=value`` settings applied; values are TOML, else plain text.

    ``a.b=`` without a value leaves the key to its default.

    Raises:
        RecipeError: A setting has no ``=``, or its path runs through a value.
    """
    result = _copy(document)
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path.strip():
            raise RecipeError(f"--set {setting!r}: expected key=value, as in train.epochs=3")
        value: Any
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        table: Any = result
        *parents, leaf = path.strip().split(".")
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise RecipeError(f"--set {setting!r}: `{parent}` is a value, not a table")
        if text.strip():
            table[leaf] = value
        else:
            table.pop(leaf, None)
    return result


def _copy(table: dict[str, Any]) -> dict[str, Any]:
    return {k: _copy(v) if isinstance(v, dict) else v for k, v in table.items()}


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys allowed at a place of the recipe."""
    section: type[BaseModel] = Recipe
    for part in location:
        annotation = (
            section.model_fields[str(part)].annotation if part in section.model_fields else None
        )
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        found = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if found:
            section = found[0]
    return list(section.model_fields)


def with_tasks(recipe: Recipe, names: Sequence[str]) -> Recipe:
    """Return the recipe with some of its tasks alone, in its own order.

    So one recipe serves every combination, and each task by itself. What the network is told of
    other tasks (``model.args.image_tasks``) goes too.

    Raises:
        RecipeError: No task, one twice, or one that the recipe does not have.
    """
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RecipeError(
            f"recipe `{recipe.name}`: task `{twice}` is named twice in {', '.join(names)}",
            hint="name each task once",
        )
    for name in names:
        if name not in recipe.tasks:
            raise RecipeError(
                f"recipe `{recipe.name}` has no task `{name}`{nearest(name, recipe.tasks)}",
                hint=f"it has: {', '.join(recipe.tasks)}",
            )
    document = recipe.to_dict()
    document["tasks"] = {k: v for k, v in document["tasks"].items() if k in names}
    args = document["model"].get("args", {})
    if "image_tasks" in args:
        args["image_tasks"] = [name for name in args["image_tasks"] if name in names]
    return parse(document, source=f"recipe `{recipe.name}` with tasks {', '.join(names)}")


def to_toml(recipe: Recipe) -> str:
    """Return the recipe as TOML text that ``read_toml`` and ``parse`` read back unchanged."""
    return tomli_w.dumps(recipe.to_dict())
