"""The network of train.py as a factory without arguments, for `compactmtl compress --model`."""

from train import Rooms

from compactmtl.models.segnet import SegNet


def build() -> SegNet:
    return Rooms().network
