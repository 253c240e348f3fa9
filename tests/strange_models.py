"""Networks as their makers have them, which edgekit must take or refuse with the true remedy."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

QUANTIZATION: Any = torch.ao.quantization  # its functions have no types


class Net(nn.Module):
    def __init__(self, count: int = 3) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, count)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.relu(self.norm(self.conv(x))).mean((2, 3)))
        return out


def plain() -> nn.Module:
    return Net()


def with_arguments(count: int, *, depth: int) -> nn.Module:
    return Net(count)


def state() -> object:
    return Net().state_dict()


def parallel() -> nn.Module:
    return nn.DataParallel(Net())


def compiled() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what torch itself imports for it
        return torch.compile(Net())


def scripted() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(Net())


def half() -> nn.Module:
    return Net().half()


def bfloat16() -> nn.Module:
    return Net().bfloat16()


def double() -> nn.Module:
    return Net().double()


class Casting(nn.Module):
    """bfloat16 inside, and it casts by itself, as transformers' networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net().bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.net(x.bfloat16())
        return answer


def meta() -> nn.Module:
    with torch.device("meta"):
        return Net()


def lazy() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(nn.LazyConv2d(8, 3), nn.Flatten(), nn.LazyLinear(3))


def quantized() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made: nn.Module = QUANTIZATION.quantize_dynamic(Net(), {nn.Linear})
    return made


def prepared() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = Net().eval()
        net.qconfig = QUANTIZATION.get_default_qconfig("x86")
        made: nn.Module = QUANTIZATION.prepare(net)
    return made


def sparse() -> nn.Module:
    net = Net()
    net.register_buffer("links", torch.eye(2).to_sparse())
    return net


class AlwaysTraining(Net):
    def train(self, mode: bool = True) -> AlwaysTraining:
        return super().train()


class Asserting(Net):
    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[-1] == 224, f"input width {x.shape[-1]} is not 224"
        return super().forward(x)


class MissingKey(Net):
    def forward(self, x: Tensor) -> Tensor:
        table: dict[str, Tensor] = {}
        return table["weight"]


class ChannelsLast(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 3, 1, 2))


def grey() -> nn.Module:
    net = Net()
    net.conv = nn.Conv2d(1, 8, 3, 2)
    return net


class OutsideTorch(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.from_numpy(x.numpy() * 2))


class Scaled(Net):
    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        return super().forward(x) * scale


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, *, image: Tensor) -> Tensor:
        answer: Tensor = self.net(image)
        return answer


def vibration() -> nn.Module:
    """Ten channels of a sensor; its batch norm needs the batch dimension."""
    return nn.Sequential(nn.Conv1d(10, 4, 3), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(792, 3))
