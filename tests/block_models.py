"""Networks of one building block each, named `block_models:NAME`, and what a backend makes of them.

    python block_models.py BACKEND PRECISIONS PICTURES BLOCKS

prints a JSON line a block and precision: the fault, or nothing.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from fault_models import Made, Net, plain
from torch import Tensor, nn


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
    """What comes of a sequence block on the places of a coarse picture, row by row."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        tokens = nn.functional.avg_pool2d(x, 4).flatten(2).transpose(1, 2)
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
    "lstm": lambda: Tokens(nn.LSTM(16, 12, batch_first=True)),
    "gru": lambda: Tokens(nn.GRU(16, 12, batch_first=True)),
    "attention": lambda: Tokens(Attention()),
    "layer_norm": lambda: Tokens(nn.LayerNorm(16)),
}


def __getattr__(name: str) -> Callable[[], Made]:
    """Return a block's factory, as the command line asks for it."""
    if name not in BLOCKS:
        raise AttributeError(name)

    def made() -> Made:
        torch.manual_seed(3)
        return Net(BLOCKS[name]()), plain("x")

    return made


def main(backend: str, precisions: str, pictures: str, blocks: str) -> None:
    from edgekit.conversion.build import BuildRequest, build_one
    from edgekit.conversion.calibration import load_recipe
    from edgekit.conversion.export import ExportRequest, export
    from edgekit.conversion.sources import SourceRequest
    from edgekit.errors import EdgekitError

    for block in blocks.split(","):
        with tempfile.TemporaryDirectory() as folder:
            request = ExportRequest(
                source=SourceRequest(locator=f"block_models:{block}"),
                folder=folder,
                raw_input=False,
                images=None,
                calibration=pictures,
                recipe=load_recipe("default"),
            )
            graph = export(request, lambda text: None)
            for precision in precisions.split(","):
                asked = BuildRequest(
                    graph=graph,
                    backend=backend,
                    precisions=(precision,),  # type: ignore[arg-type]
                    output=str(Path(folder) / "out"),
                    min_agreement=0.9,
                )
                fault = ""
                try:
                    build_one(asked, precision)  # type: ignore[arg-type]
                except EdgekitError as error:
                    fault = str(error)
                except Exception as error:  # as conversion/steps.py words a library's own
                    fault = f"{type(error).__name__}: {error}"
                said = {"block": block, "precision": precision, "fault": fault}
                print(f"block:{json.dumps(said)}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
