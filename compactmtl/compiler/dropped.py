"""List what a network has for training only."""

from typing import Any

from torch import fx, nn

from compactmtl.compiler.value import attribute

SILENT = (nn.Identity, nn.Sequential, nn.ModuleList, nn.ModuleDict)
"""What does nothing in train mode either, where it holds no other module."""


def dropped_modules(model: nn.Module, captured: fx.GraphModule) -> list[dict[str, Any]]:
    """Return the modules that leave no trace in a network captured in eval mode.

    Args:
        model: The network, contracted.
        captured: Its graph, as captured.

    Returns:
        Per module its name, its class and its number of parameters: the outermost ones of which no
        parameter is used, and those without parameters that do nothing in eval mode, as stochastic
        depth. An unused parameter of a module that is used stands under its own name.
    """
    nodes = captured.graph.nodes
    used = {id(attribute(captured, str(n.target))) for n in nodes if n.op == "get_attr" and n.users}
    called = {
        path for node in nodes for path, _ in node.meta.get("nn_module_stack", {}).values()
    }  # fmt: skip
    found: list[dict[str, Any]] = []
    _collect(model, "", used, called, found)
    return found


def _collect(
    module: nn.Module, name: str, used: set[int], called: set[str], found: list[dict[str, Any]]
) -> None:
    parameters = list(module.parameters())
    unused = [parameter for parameter in parameters if id(parameter) not in used]
    is_idle = not module._modules and name not in called and not isinstance(module, SILENT)
    if name and (len(unused) == len(parameters) > 0 or (not parameters and is_idle)):
        count = sum(parameter.numel() for parameter in parameters)
        found.append({"module": name, "kind": type(module).__name__, "num_params": count})
        return
    for leaf, parameter in module._parameters.items():
        if parameter is not None and id(parameter) not in used:
            path = f"{name}.{leaf}".lstrip(".")
            found.append({"module": path, "kind": "Parameter", "num_params": parameter.numel()})
    for leaf, child in module._modules.items():
        if child is not None:
            _collect(child, f"{name}.{leaf}".lstrip("."), used, called, found)
