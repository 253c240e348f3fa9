"""Networks of one building block each, named `block_models:NAME`, and a step that builds them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import torch
from fault_models import Made, Net, plain
from torch import Tensor, nn

from edgekit.conversion.step_process import Report
from edgekit.graph import ExportedGraph


class Excite(nn.Module):
    """Squeeze and excitation: each channel is scaled by what all of its places say."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 4, 1), nn.ReLU(), nn.Conv2d(4, 16, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        gated: Tensor = x * self.gate(x).sigmoid()
        return gated


class Tokens(nn.Module):
    """What comes of a sequence block on the places of a coarse picture, row by row.

    `coarse` is the size of a place. Recurrent blocks have few places: OpenVINO's converter writes
    out every step, and int8 of a hundred took 20 seconds.
    """

    def __init__(self, block: nn.Module, coarse: int = 4) -> None:
        super().__init__()
        self.block, self.coarse = block, coarse

    def forward(self, x: Tensor) -> Tensor:
        tokens = nn.functional.avg_pool2d(x, self.coarse).flatten(2).transpose(1, 2)
        found = self.block(tokens)
        answer: Tensor = found[0] if isinstance(found, tuple) else found
        return answer


class Attention(nn.Module):
    """Four heads that attend to all tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.heads(x, x, x, need_weights=False)[0]
        return answer


class LinearAttention(nn.Module):
    """One context for all places, expanded over them: MobileViT v2."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Conv2d(16, 33, 1)
        self.out = nn.Conv2d(16, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.project(x).split([1, 16, 16], dim=1)
        context = (key * query.softmax(-1)).sum(-1, keepdim=True)
        answer: Tensor = self.out(nn.functional.relu(value) * context.expand_as(value))
        return answer


class Windows(nn.Module):
    """Attention within windows that are moved by half of one, with a bias by position (Swin)."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.bias = nn.Parameter(torch.randn(2, 16, 16) / 4)

    def forward(self, x: Tensor) -> Tensor:
        grid = nn.functional.avg_pool2d(x, 2).permute(0, 2, 3, 1)
        moved = torch.roll(grid, (-2, -2), (1, 2))
        b, h, w, c = moved.shape
        parts = moved.view(b, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
        q, k, v = self.mix(parts).reshape(-1, 16, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q * 8**-0.5) @ k.transpose(-2, -1) + self.bias
        found = self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(-1, 16, c))
        found = found.view(b, h // 4, w // 4, 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
        answer: Tensor = torch.roll(found, (2, 2), (1, 2)).permute(0, 3, 1, 2)
        return answer


class Masked(nn.Module):
    """Attention by torch's own operator, some of it masked, as transformers calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.mask = nn.Buffer(torch.randn(1, 2, 24, 24))

    def forward(self, x: Tensor) -> Tensor:
        parts = self.mix(x).chunk(3, -1)
        q, k, v = (part.view(1, 24, 2, 8).transpose(1, 2) for part in parts)
        found = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=self.mask)
        answer: Tensor = self.out(found.transpose(1, 2).reshape(1, 24, -1))
        return answer


class Headless(nn.Module):
    """Attention by torch's own operator over N×T×C, with no heads; one product has a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.mask = nn.Buffer(torch.randn(1, 24, 24))

    def forward(self, x: Tensor) -> Tensor:
        attend = nn.functional.scaled_dot_product_attention
        found = attend(*self.mix(x).chunk(3, -1))
        answer: Tensor = attend(self.out(found), found, found, attn_mask=self.mask)
        return answer


class ConvNext(nn.Module):
    """A wide depthwise convolution, a norm over channels, two linear layers, a scale, a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.deep = nn.Conv2d(16, 16, 7, padding=3, groups=16)
        self.norm, self.up, self.down = nn.LayerNorm(16), nn.Linear(16, 64), nn.Linear(64, 16)
        self.scale = nn.Parameter(torch.full((16,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.deep(x).permute(0, 2, 3, 1))
        y = self.scale * self.down(nn.functional.gelu(self.up(y)))
        answer: Tensor = x + y.permute(0, 3, 1, 2)
        return answer


class Unfolded(nn.Module):
    """Attention between the places that lie alike in all patches (MobileViT)."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.TransformerEncoderLayer(16, 4, 32, 0.0, batch_first=True, norm_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.avg_pool2d(x, 2)
        b, c, h, w = x.shape
        y = x.reshape(b * c * h // 2, 2, w // 2, 2).transpose(1, 2).reshape(b, c, -1, 4)
        y = self.inner(y.transpose(1, 3).reshape(b * 4, -1, c)).view(b, 4, -1, c).transpose(1, 3)
        y = y.reshape(b * c * h // 2, w // 2, 2, 2).transpose(1, 2)
        answer: Tensor = y.reshape(b, c, h, w)
        return answer


class Shuffle(nn.Module):
    """Half of the channels pass, half are convolved, then they are shuffled (ShuffleNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.Conv2d(8, 8, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        kept, worked = x.chunk(2, 1)
        joined = torch.cat([kept, self.branch(worked)], 1)
        b, c, h, w = joined.shape
        return joined.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)


class Spatial(nn.Module):
    """Pools of one map, one after the other, and all of them joined (YOLO's SPPF)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(16, 8, 1), nn.Conv2d(32, 16, 1)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        found = [nn.functional.silu(self.first(x))]
        for _ in range(3):
            found.append(self.pool(found[-1]))
        answer: Tensor = self.last(torch.cat(found, 1))
        return answer


class Expected(nn.Module):
    """Distances as the mean of a softmax over bins (YOLO's DFL)."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(16, 32, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.head(nn.functional.avg_pool2d(x, 4)).flatten(2)
        bins = rows.view(1, 4, 8, -1).transpose(2, 1).softmax(1)
        answer: Tensor = (bins * torch.arange(8.0).view(1, 8, 1, 1)).sum(1)
        return answer


class Pyramid(nn.Module):
    """Pools to grids of several sizes, made large again and joined (PSPNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce = nn.ModuleList(nn.Conv2d(16, 4, 1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        found = [
            nn.functional.interpolate(
                layer(nn.functional.adaptive_avg_pool2d(x, n)), size, mode="bilinear"
            )
            for n, layer in zip((1, 2, 4), self.reduce, strict=True)
        ]
        return torch.cat([x, *found], 1)


class Line(nn.Module):
    """What comes of a block for signals on the rows of a picture, joined to one."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.block(nn.functional.avg_pool2d(x, 4).flatten(2))
        return answer


class Normalised(nn.Module):
    """Features of length 1, and their scores against learned ones (a metric head)."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 8)
        self.centres = nn.Parameter(torch.randn(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        features = nn.functional.normalize(self.linear(x.mean((2, 3))))
        return features @ nn.functional.normalize(self.centres).T


def conv(dilation: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(16, 16, 3, padding=dilation, dilation=dilation, groups=groups)


BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "silu": lambda: nn.Sequential(conv(), nn.SiLU()),
    "hard_swish": lambda: nn.Sequential(conv(), nn.Hardswish()),
    "squeeze_excite": Excite,
    "depthwise": lambda: conv(groups=16),
    "grouped": lambda: conv(groups=4),
    "dilated": lambda: conv(dilation=2),
    "transposed": lambda: nn.ConvTranspose2d(16, 8, 2, 2),
    "resize_nearest": lambda: nn.Sequential(nn.Upsample(scale_factor=2), conv()),
    "resize_bilinear": lambda: nn.Sequential(nn.UpsamplingBilinear2d(scale_factor=2), conv()),
    "pixel_shuffle": lambda: nn.Sequential(conv(), nn.PixelShuffle(2)),
    "lstm": lambda: Tokens(nn.LSTM(16, 12, batch_first=True), 8),
    "gru": lambda: Tokens(nn.GRU(16, 12, batch_first=True), 8),
    "attention": lambda: Tokens(Attention()),
    "layer_norm": lambda: Tokens(nn.LayerNorm(16)),
    "linear_attention": LinearAttention,
    "windows": Windows,
    "masked": lambda: Tokens(Masked()),
    "headless": lambda: Tokens(Headless()),
    "convnext": ConvNext,
    "mobilevit": Unfolded,
    "shuffle": Shuffle,
    "spatial_pools": Spatial,
    "expected": Expected,
    "pyramid": Pyramid,
    "normalised": Normalised,
    "ceil_pool": lambda: nn.Sequential(conv(), nn.MaxPool2d(3, 2, ceil_mode=True)),
    "average_pool": lambda: nn.Sequential(
        conv(), nn.AvgPool2d(3, 2, 1, count_include_pad=False, ceil_mode=True)
    ),
    "reflected": lambda: nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(16, 8, 3), nn.ELU()),
    "group_norm": lambda: nn.Sequential(conv(), nn.GroupNorm(4, 16), nn.Mish()),
    "instance_norm": lambda: nn.Sequential(conv(), nn.InstanceNorm2d(16, affine=True)),
    "prelu": lambda: nn.Sequential(conv(), nn.PReLU(16), conv(groups=16), nn.LeakyReLU(0.1)),
    "transposed_uneven": lambda: nn.ConvTranspose2d(16, 8, 3, 2, 1, output_padding=1),
    "signal": lambda: Line(
        nn.Sequential(nn.Conv1d(16, 16, 3, 2, 1), nn.GELU(), nn.Conv1d(16, 8, 1))
    ),
    "causal": lambda: Line(
        nn.Sequential(nn.ConstantPad1d((4, 0), 0.0), nn.Conv1d(16, 16, 3, dilation=2), nn.ReLU())
    ),
    "both_ways": lambda: Tokens(nn.LSTM(16, 8, 2, batch_first=True, bidirectional=True), 8),
    "encoder": lambda: Tokens(nn.TransformerEncoderLayer(16, 4, 32, 0.0, batch_first=True)),
}


def __getattr__(name: str) -> Callable[[], Made]:
    """Return a block's factory, as the command line asks for it."""
    if name not in BLOCKS:
        raise AttributeError(name)

    def made() -> Made:
        torch.manual_seed(3)
        return Net(BLOCKS[name]()), plain("x")

    return made


def exported(block: str, pictures: str, folder: Path) -> ExportedGraph:
    """Export a block into `folder`; what another backend's process left there is taken instead."""
    from edgekit.conversion.calibration import load_recipe
    from edgekit.conversion.export import ExportRequest, export
    from edgekit.conversion.sources import SourceRequest

    left = folder / "exported.json"
    if not left.exists():
        folder.mkdir(parents=True, exist_ok=True)
        asked = ExportRequest(
            source=SourceRequest(locator=f"block_models:{block}"),
            folder=str(folder),
            raw_input=False,
            images=None,
            calibration=pictures,
            recipe=load_recipe("default"),
        )
        left.write_bytes(msgspec.json.encode(export(asked, lambda text: None), enc_hook=str))
    return msgspec.json.decode(
        left.read_bytes(), type=ExportedGraph, dec_hook=lambda kind, value: kind(value)
    )


def run(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Build blocks in a backend (a step's entry); each block and precision has its fault said."""
    from edgekit.conversion.build import BuildRequest, build_one
    from edgekit.errors import EdgekitError

    for block in request["blocks"]:
        graph = exported(block, request["pictures"], Path(request["exported"]) / block)
        with tempfile.TemporaryDirectory() as folder:
            for precision in request["precisions"]:
                wanted = BuildRequest(
                    graph=graph,
                    backend=request["backend"],
                    precisions=(precision,),
                    output=str(Path(folder) / "out"),
                    min_agreement=0.9,
                )
                fault = ""
                try:
                    build_one(wanted, precision)
                except EdgekitError as error:
                    fault = str(error)
                except Exception as error:  # as conversion/steps.py words a library's own
                    fault = f"{type(error).__name__}: {error}"
                report({"event": "block", "block": block, "precision": precision, "fault": fault})
    return {}
