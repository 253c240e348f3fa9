"""A picture; judged by the PSNR against the model's picture, on the worst image."""

from __future__ import annotations

from edgekit.spec import OutputSpec

JUDGED_BY = "metric"
LEAST = 30.0
UNIT = " dB"
SHARE = False


def shape_fault(output: OutputSpec, shape: tuple[int, ...]) -> str:
    """Return what shape is needed, or ''."""
    if len(shape) == 3 or (len(shape) == 4 and min(shape[1], shape[3]) <= 4):
        return ""
    return "an image needs (1, CHANNELS, HEIGHT, WIDTH), channels first or last, 4 at most"
