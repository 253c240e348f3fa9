"""Small networks of the kinds whose artifacts once answered wrongly, as `fault_models:NAME`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgekit.spec import InputSpec, ModelSpec, OutputSpec

Made = tuple[nn.Module, ModelSpec]
INPUT = InputSpec(32, 48)


def plain(*names: str) -> ModelSpec:
    return ModelSpec(INPUT, tuple(OutputSpec(name) for name in names))


def classes(*names: str, count: int = 4) -> ModelSpec:
    labels = tuple("abcdefgh"[:count])
    return ModelSpec(INPUT, tuple(OutputSpec(n, "classification", labels) for n in names))


class Net(nn.Module):
    """A stem of two convolutions, and whatever `head` makes of its 16 channels."""

    def __init__(self, head: nn.Module | None = None, seed: int = 4) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU()
        )
        self.head = head if head is not None else nn.Identity()

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        answer: Tensor | tuple[Tensor, ...] = self.head(self.stem(image))
        return answer


class Pooled(Net):
    """Logits of `width` classes, spread over some units so that images differ."""

    def __init__(self, width: int = 4, gain: float = 60.0) -> None:
        super().__init__()
        self.out = nn.Linear(16, width)
        self.gain = gain

    def logits(self, image: Tensor) -> Tensor:
        found: Tensor = self.out(self.stem(image).mean((2, 3)))
        return self.gain * (found - found.mean(1, keepdim=True))

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.logits(image)


class Heads(Net):
    """A dict whose keys are in another order than the spec's: helmet is off, vest is on."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 2), nn.Linear(16, 2)
        with torch.no_grad():
            self.first.bias.copy_(torch.tensor([5.0, 0.0]))
            self.second.bias.copy_(torch.tensor([0.0, 5.0]))

    def forward(self, image: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        found = self.stem(image).mean((2, 3))
        return {"helmet": self.first(found), "vest": self.second(found)}


class Detector(Net):
    """Boxes in pixels and scores of 0 to 1, (1, 384, 5), or apart."""

    def __init__(self, apart: bool) -> None:
        super().__init__()
        self.boxes, self.scores = nn.Conv2d(16, 4, 1), nn.Conv2d(16, 1, 1)
        with torch.no_grad():
            self.scores.weight.mul_(20)
        self.apart = apart

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        found = self.stem(image)
        boxes = 640 * self.boxes(found).sigmoid().flatten(2).transpose(1, 2)
        scores = (self.scores(found) - 1).sigmoid().flatten(2).transpose(1, 2)
        return (boxes, scores) if self.apart else torch.cat([boxes, scores], 2)


class Upscaler(Net):
    """A picture of 0 to 1, twice as large: the input made larger, and small details added."""

    def __init__(self, unit: float) -> None:
        super().__init__(nn.Sequential(nn.Conv2d(16, 48, 1), nn.PixelShuffle(4)))
        self.unit = unit

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        larger = nn.functional.interpolate(image, scale_factor=2.0, mode="bilinear")
        made: Tensor = self.unit * (larger + 0.05 * self.head(self.stem(image)))
        return made


class Softmax(Pooled):
    """Probabilities, flattened after the softmax."""

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.logits(image)[..., None, None].softmax(1).flatten(1)


class Sigmoid(Pooled):
    """Independent probabilities."""

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.logits(image).sigmoid()


class OwnSoftmax(Pooled):
    """A softmax that somebody wrote out."""

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        shares = (self.logits(image) - 3).exp()
        return shares / shares.sum(1, keepdim=True)


class Segments(Net):
    """Integers: the class of each pixel; booleans: a mask."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(16, 4, 1))
        with torch.no_grad():
            self.head.get_parameter("weight").mul_(8)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        found = self.head(self.stem(image))
        return found.argmax(1), found[:, 3] > found[:, 1]


class Top(Pooled):
    """Scores and the indices of their classes."""

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        values, indices = self.logits(image).topk(3)
        return values, indices


class Blind(Pooled):
    """Answers that do not depend on the image."""

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.logits(image * 0), self.stem(image)[:, :1] < 0


class Logarithm(Pooled):
    """The logarithm of negative numbers."""

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        return (self.logits(image) - 1000).log()


class Scaled(Pooled):
    """Outputs in the thousands."""

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        return 5000 * self.logits(image).tanh()


class Dropping(Pooled):
    """Dropout at inference: `training` is True by default in F.dropout."""

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        return nn.functional.dropout(self.logits(image), 0.4)


class Twice(Pooled):
    """One tensor under two names, and the input itself under a third."""

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        found = self.logits(image)
        return found, found, image


class Grouped(Net):
    """A transposed convolution in groups."""

    def __init__(self) -> None:
        super().__init__(
            nn.Sequential(
                nn.ConvTranspose2d(16, 16, 4, 2, 1, groups=4), nn.ReLU(), nn.Conv2d(16, 2, 1)
            )
        )


class Gains(Pooled):
    """Four gains of shape [1, 4] after the last layer: the converter folds them into its bias."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.linspace(1, 2, 4)[None])

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        answer: Tensor = self.out(self.stem(image).mean((2, 3))) * self.scale
        return answer


class Faint(Net):
    """A SiLU of values around 1e-8 with its input added, as in networks with random weights."""

    def __init__(self) -> None:
        super().__init__()
        fading = [nn.Conv2d(16, 16, 1, bias=False) for _ in range(3)]
        self.fade = nn.Sequential(*fading)
        self.out = nn.Linear(16, 4, bias=False)
        with torch.no_grad():
            for layer in fading:
                layer.weight *= 0.01
            self.out.weight *= 1e8

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        found = self.fade(self.stem(image))
        answer: Tensor = self.out((found + found * found.sigmoid()).mean((2, 3)))
        return answer


class Clamped(Pooled):
    """Bounds of two kinds: an integer and a float."""

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.logits(image).clamp(-50, 60.0)


class Constants(Pooled):
    """Constants that forward makes, one of them the bound of a clamp."""

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        dimmed = image * torch.tensor([0.5, 0.75, 1.0])[:, None, None]
        return self.logits(dimmed).clamp(torch.tensor(-50.0), torch.tensor(60.0))


class Precise(Pooled):
    """A softmax in float64."""

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.logits(image).double().softmax(1).float()


class Nested(Net):
    """What detectors answer in eval mode: one tensor, and the list it was made of."""

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:  # type: ignore[override]
        found = self.stem(image)
        return found.flatten(2), [found, found.mean((2, 3))]


class Nothing(Net):
    def forward(self, image: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return self.stem(image), None


class Pair(Net):
    def forward(self, left: Tensor, right: Tensor) -> Tensor:  # type: ignore[override]
        answer: Tensor = (self.stem(left) - self.stem(right)).mean((2, 3))
        return answer


class Unbatched(Net):
    """A tensor without a batch dimension, of which only the first row was read."""

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        answer: Tensor = self.stem(image)[0].flatten(1)
        return answer


def twice() -> Made:
    return Twice(), plain("one", "two", "picture")


def called_image() -> Made:
    return Pooled(), plain("image")


def called_as_inner_values() -> Made:
    return Twice(), plain("relu", "linear", "file")


def grouped() -> Made:
    return Grouped(), plain("mask")


class Largest(nn.Module):
    """The four largest values of each channel, sorted, without their places."""

    def forward(self, value: Tensor) -> Tensor:
        return value.flatten(2).topk(4).values


def resized() -> Made:
    """Up by output padding, as most decoders go, by uneven strides, to any size; and down."""
    up = [nn.ConvTranspose2d(16, 8, 3, 2, 1, 1), nn.ReLU(), nn.ConvTranspose2d(8, 2, 3, (2, 1), 1)]
    down = [nn.Upsample((40, 41)), nn.MaxPool2d(3, 2, 1, dilation=2), nn.AdaptiveMaxPool2d((7, 5))]
    return Net(nn.Sequential(*up, *down, Largest())), plain("mask")


class Spectrum(Pooled):
    """Logits of the frequencies in a picture's rows."""

    def forward(self, image: Tensor) -> Tensor:
        return self.logits(torch.fft.rfft(image, 32).abs())


class InBfloat16(Pooled):
    """As a forward that was written for training on a GPU."""

    def forward(self, image: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.logits(image).float()


def spectrum() -> Made:
    return Spectrum(), classes("kind")


def in_bfloat16() -> Made:
    return InBfloat16(), classes("kind")


def dilated() -> Made:
    return Net(nn.Sequential(nn.ConvTranspose2d(16, 2, 3, 2, dilation=2))), plain("mask")


def faint() -> Made:
    return Faint(), plain("found")


def gains() -> Made:
    return Gains(), classes("kind")


def clamped() -> Made:
    return Clamped(), classes("kind")


def constants() -> Made:
    return Constants(), classes("kind")


def precise() -> Made:
    return Precise(), classes("kind")


def nested() -> Made:
    return Nested(), plain("detections", "maps")


def nothing() -> Made:
    return Nothing(), plain("features", "maps")


def pair() -> Made:
    return Pair(), plain("distance")


def double() -> Made:
    return Pooled().double(), classes("kind")


def unbatched() -> Made:
    return Unbatched(), classes("rows")


def heads() -> Made:
    return Heads(), classes("vest", "helmet", count=2)


def other_heads() -> Made:
    return Heads(), classes("vest", "hat", count=2)


def detector() -> Made:
    return Detector(apart=False), plain("detections")


def detector_apart() -> Made:
    return Detector(apart=True), plain("boxes", "scores")


def upscaler() -> Made:
    return Upscaler(1.0), plain("picture")


def depth() -> Made:
    return Upscaler(8000.0), plain("millimetres")


def softmax() -> Made:
    return Softmax(), classes("kind")


def sigmoid() -> Made:
    return Sigmoid(), classes("kind")


def own_softmax() -> Made:
    return OwnSoftmax(), classes("kind")


def logits() -> Made:
    return Pooled(), classes("kind")


def softmax_called_logits() -> Made:
    labels = tuple("abcd")
    return Softmax(), ModelSpec(INPUT, (OutputSpec("kind", "classification", labels, "logits"),))


def logits_called_probabilities() -> Made:
    labels = tuple("abcd")
    output = OutputSpec("kind", "classification", labels, "probabilities")
    return Pooled(), ModelSpec(INPUT, (output,))


def segments() -> Made:
    return Segments(), plain("classes", "mask")


def top() -> Made:
    return Top(6), plain("scores", "ids")


def blind() -> Made:
    return Blind(), plain("answer", "mask")


def nan_weight() -> Made:
    net = Pooled()
    with torch.no_grad():
        net.stem.get_parameter("2.weight")[3, 0, 0, 0] = float("nan")
    return net, classes("kind")


def nan_unseen() -> Made:
    """A broken weight that no answer shows."""
    net = Pooled()
    net.register_buffer("unused", torch.tensor([1.0, float("inf")]))
    return net, classes("kind")


def nan_answer() -> Made:
    return Logarithm(), plain("features")


def scaled() -> Made:
    return Scaled(), plain("watts")


def dropping() -> Made:
    return Dropping(), classes("kind")


class Saturating(nn.Module):
    """Every kind of layer that int8 computes, with the products that overflow 16 bits soonest.

    All weights of a channel are nearly as large as its largest, and white pixels are 255.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(11)
        self.dense = nn.Conv2d(3, 16, 3, 2, 1)
        self.grouped = nn.Conv2d(16, 16, 3, 1, 1, groups=4)
        self.depthwise = nn.Conv2d(16, 16, 3, 1, 1, groups=16)
        self.pointwise = nn.Conv2d(16, 16, 1)
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.signed = nn.Conv2d(16, 8, 3, 2, 1)
        self.linear = nn.Linear(16, 8)
        for layer in self.children():
            weight = layer.weight
            assert isinstance(weight, nn.Parameter)
            size = weight[0].numel()
            nn.init.uniform_(weight, 0.9 / size, 1.0 / size)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        stem = self.dense(image).relu()
        grouped = self.grouped(stem)
        depthwise = self.depthwise(grouped.relu())
        pointwise = self.pointwise(depthwise.relu())
        signed = self.signed(pointwise - pointwise.mean((2, 3), keepdim=True))
        linear = self.linear(pointwise.mean((2, 3)))
        return grouped, depthwise, pointwise, self.up(pointwise), signed, linear


def saturating() -> Made:
    return Saturating(), plain("grouped", "depthwise", "pointwise", "up", "signed", "linear")
