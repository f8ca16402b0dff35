"""A network of torch on a GPU as a CUDA graph: recorded once, then launched in one piece.

Never run on hardware: no machine with a GPU was at hand. Tests cover the control flow with a fake.
Source: torch's notes on CUDA semantics, "CUDA Graphs": warm up on a stream beside, then capture.
"""

from collections.abc import Callable, Sequence
from typing import Any

WARMUP_CALLS = 3
"""Before the recording, where libraries choose kernels and torch.compile compiles."""


def recorded(
    torch: Any, module: Any, tensors: Sequence[Any], events: Sequence[Any]
) -> Callable[[], Any]:
    """Record a network on these inputs; return what copies them there, launches and copies back.

    Args:
        torch: The library.
        module: The network, on the GPU.
        tensors: Its inputs, in the machine's memory.
        events: Two events, which go before and after the launch.
    """
    tree_map = torch.utils._pytree.tree_map
    fixed = [tensor.cuda() for tensor in tensors]  # a graph reads from where it was recorded
    with torch.no_grad():
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(WARMUP_CALLS):
                module(*fixed)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = module(*fixed)

    def call() -> Any:
        for target, source in zip(fixed, tensors, strict=True):
            target.copy_(source, non_blocking=True)
        events[0].record()
        graph.replay()
        events[1].record()
        return tree_map(lambda value: value.cpu(), outputs)

    return call
