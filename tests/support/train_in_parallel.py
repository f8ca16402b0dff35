"""One of two processes that train a compact model under DistributedDataParallel on the CPU.

    train_in_parallel.py FOLDER

reads `model.pt2` and `batch.pt`, and writes the gradients of its half of the batch in eval mode,
averaged over the processes, and whether a step in train mode moved weights and statistics.
"""

import os
import sys
from pathlib import Path

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from compactmtl.compact import load


def main(folder: Path) -> None:
    """Train."""
    distributed.init_process_group("gloo")
    rank = int(os.environ["RANK"])
    module = load(folder / "model.pt2").module
    half = torch.load(folder / "batch.pt").chunk(2)[rank]
    parallel = DistributedDataParallel(module)
    parallel(half).square().mean().backward()
    gradients = {name: parameter.grad for name, parameter in module.named_parameters()}
    torch.save(gradients, folder / f"gradients-{rank}.pt")
    before = {name: value.clone() for name, value in module.state_dict().items()}
    parallel.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    optimizer.zero_grad()
    parallel(half).square().mean().backward()
    optimizer.step()
    state = module.state_dict()
    moved = {name for name, value in state.items() if not torch.equal(value, before[name])}
    torch.save(
        {"1.running_mean", "1.running_var", "0.weight", "3.weight"} <= moved,
        folder / f"moved-{rank}.pt",
    )
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
