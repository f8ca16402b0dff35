"""Build an engine: TensorRT 10, TensorRT 11 and TensorRT-RTX by the same calls."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from compactmtl.board.advice import advise_builder
from compactmtl.board.bindings import Bindings
from compactmtl.board.errors import AskedError, BuildError
from compactmtl.board.logger import Message, listen, process_logger
from compactmtl.board.onnx_file import OnnxFile
from compactmtl.board.parse import parse
from compactmtl.board.profile import Profile
from compactmtl.board.recipe import BuildRecipe
from compactmtl.board.typing_mode import network_flags, set_weak_flags


@dataclass(frozen=True)
class Built:
    """An engine in memory.

    Attributes:
        plan: Its bytes, untouched.
        timing_cache: What the builder measured, to be given to the next build; empty without.
        num_layers: Layers of the network before fusion.
        seconds: Time that parsing and building took.
        flags: Builder flags that were set.
        warnings: What TensorRT warned of, each once.
    """

    plan: bytes = field(repr=False)
    timing_cache: bytes = field(repr=False)
    num_layers: int
    seconds: float
    flags: tuple[str, ...]
    warnings: tuple[str, ...]


def build(
    bindings: Bindings,
    source: OnnxFile,
    recipe: BuildRecipe,
    profile: Profile,
    timing_cache: bytes = b"",
) -> Built:
    """Build an engine from an ONNX file.

    Args:
        bindings: The TensorRT that builds.
        source: The file.
        recipe: Settings.
        profile: Shapes for every input.
        timing_cache: Of an earlier build; one of another GPU or version is not used. TensorRT only.

    Raises:
        AskedError: The settings are not possible with this TensorRT.
        BuildError: It refuses the network, or fails; the message has its own words.
    """
    recipe.check_taken(bindings.flavour)
    started = time.monotonic()
    with listen(bindings) as messages:
        builder = bindings.module.Builder(process_logger(bindings))
        if builder is None:
            raise BuildError(f"{bindings.name} has no builder here: {_reason(messages)}")
        network = builder.create_network(network_flags(bindings, recipe))
        parse(bindings, network, source)
        _check_inputs(network, profile)
        config = builder.create_builder_config()
        flags = _configure(bindings, config, recipe, source)
        config.add_optimization_profile(_fill(builder.create_optimization_profile(), profile))
        cache = None
        if bindings.flavour == "tensorrt":  # TensorRT-RTX times nothing before an engine runs
            cache = config.create_timing_cache(timing_cache)
            if not config.set_timing_cache(cache, ignore_mismatch=False):
                cache = config.create_timing_cache(b"")
                config.set_timing_cache(cache, ignore_mismatch=False)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            said = _reason(messages)
            raise BuildError(
                f"{bindings.name} cannot build `{source.path.name}`: {said}",
                hint=advise_builder(said),
            )
    return Built(
        plan=bytes(plan),
        timing_cache=bytes(cache.serialize()) if cache is not None else b"",
        num_layers=network.num_layers,
        seconds=time.monotonic() - started,
        flags=flags,
        warnings=tuple(dict.fromkeys(text for kind, text in messages if kind == "WARNING")),
    )


def _configure(
    bindings: Bindings, config: Any, recipe: BuildRecipe, source: OnnxFile
) -> tuple[str, ...]:
    trt = bindings.module
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, recipe.workspace_bytes)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # the inspector needs it
    flags = list(set_weak_flags(bindings, config, recipe, source))
    if recipe.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        flags.append("VERSION_COMPATIBLE")
    if recipe.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
        flags.append("AMPERE_PLUS")
    if recipe.compute_capabilities:
        _set_capabilities(bindings, config, recipe.compute_capabilities)
    return tuple(flags)


def _set_capabilities(bindings: Bindings, config: Any, wanted: Sequence[str]) -> None:
    known = {
        f"{name[2:-1]}.{name[-1]}": value
        for name, value in bindings.module.ComputeCapability.__members__.items()
        if name.startswith("SM")
    }
    for each in wanted:
        if each not in known:
            raise AskedError(
                f"{bindings.name} builds for no GPU of compute capability {each}; it knows: "
                f"{', '.join(sorted(known, key=float))}",
                hint="engines for a Jetson or a data-centre GPU are built there, by `tensorrt`",
            )
    config.num_compute_capabilities = len(wanted)
    for index, each in enumerate(wanted):
        config.set_compute_capability(known[each], index)


def _check_inputs(network: Any, profile: Profile) -> None:
    names = {network.get_input(i).name for i in range(network.num_inputs)}
    if names != profile.keys():
        raise AskedError(
            f"the profile is for {', '.join(profile)}; the network's inputs are "
            f"{', '.join(sorted(names))}"
        )


def _fill(empty: Any, profile: Profile) -> Any:
    for name, (low, usual, high) in profile.items():
        empty.set_shape(name, low, usual, high)
    return empty


def _reason(messages: Sequence[Message]) -> str:
    """Return TensorRT's own words: the build returns nothing, the reason is in the log alone."""
    errors = [" ".join(text.split()) for kind, text in messages if "ERROR" in kind]
    return "; ".join(dict.fromkeys(errors))[:600] or "it gave no reason"
