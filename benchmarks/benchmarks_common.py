"""What the benchmarks share: a DenseNet-121 with fixed random weights, and the classifier around it."""

from __future__ import annotations

import torch
from torch import nn

import whyray
from whyray.findings import crosswalk
from whyray.networks.densenet import DenseNet


def densenet121(findings: int = 18) -> DenseNet:
    """Random weights of a fixed seed; BatchNorm calibrated on random pictures, so activations are of order one."""
    torch.manual_seed(0)
    module = DenseNet(findings)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # cumulative average
    with torch.no_grad():
        module.train()(torch.rand(4, 1, 224, 224))
    return module.eval().requires_grad_(False)


def wrapped(module: nn.Module) -> whyray.Classifier:
    """The module behind the contract, with the 18 findings of torchxrayvision."""
    return whyray.wrap(module, findings=list(crosswalk("xrv-18").values()), size=224, name="densenet121")
