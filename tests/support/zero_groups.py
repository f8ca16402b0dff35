"""Give a network what sparse training leaves behind: zero input groups."""

import torch
from torch import nn


def zero_random_groups(network: nn.Module, *, seed: int, zeros: float = 0.5) -> nn.Module:
    """Draw batch norm statistics, set a share of the input groups to zero, return in eval mode.

    The first layer, which reads the image, keeps its groups; so do depthwise filters.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                size = module.num_features
                module.running_mean.copy_(torch.rand(size, generator=generator) - 0.5)
                module.running_var.copy_(torch.rand(size, generator=generator) + 0.5)
                module.bias.copy_(torch.rand(size, generator=generator) - 0.5)
            elif isinstance(module, nn.Conv2d | nn.Linear) and module.weight.shape[1] > 3:
                columns = module.weight.shape[1]
                module.weight[:, torch.rand(columns, generator=generator) < zeros] = 0
    return network.eval()
