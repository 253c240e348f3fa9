"""Networks whose inputs are no images: sound, motion, a picture with numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgekit.spec import InputSpec, ModelSpec, OutputSpec, TensorSpec

WORDS = ("yes", "no", "stop")
TOPICS = ("sport", "music", "news", "food")


class Spotter(nn.Module):
    """A keyword spotter on a spectrogram of 49 × 10."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, (10, 4), 2), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()
        )
        self.head = nn.Linear(8 * 18 * 2, 3)

    def forward(self, spectrogram: Tensor) -> Tensor:
        scores: Tensor = 5 * self.head(self.features(spectrogram).flatten(1))
        return scores


class Motion(nn.Module):
    """A 1-D network on a window of an accelerometer: three axes, 128 samples."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv1d(3, 8, 5, 2), nn.ReLU(), nn.Conv1d(8, 8, 5, 2))
        self.head = nn.Linear(8 * 29, 1)

    def forward(self, window: Tensor) -> Tensor:
        speed: Tensor = self.head(self.features(window).flatten(1))
        return speed


class Both(nn.Module):
    """A picture and three numbers, of which the numbers come first."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
        self.numbers = nn.Linear(3, 8)
        self.head = nn.Linear(40, 3)

    def forward(self, weather: Tensor, photo: Tensor) -> dict[str, Tensor]:
        seen = self.features(photo).flatten(1)
        joined = torch.cat([seen, torch.relu(self.numbers(weather))], 1)
        return {"word": 10 * self.head(joined)}


WORD = (OutputSpec("word", "classification", WORDS),)
SPOTTER = ModelSpec(None, WORD, (TensorSpec("spectrogram", (1, 1, 49, 10), range=(-30, 30)),))
MOTION = ModelSpec(
    None, (OutputSpec("speed", "value", unit="m/s"),), (TensorSpec("window", (1, 3, 128)),)
)
BOTH = ModelSpec(
    InputSpec(24, 16, (120.0, 110.0, 100.0), (60.0,) * 3, "BGR", name="photo"),
    WORD,
    (TensorSpec("weather", (1, 3)),),
    ("weather", "photo"),
)


def spotter() -> tuple[nn.Module, ModelSpec]:
    return Spotter(), SPOTTER


def motion() -> tuple[nn.Module, ModelSpec]:
    return Motion(), MOTION


def both() -> tuple[nn.Module, ModelSpec]:
    return Both(), BOTH


class Reader(nn.Module):
    """Tokens and which of them count; the others are masked out of the mean."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.head = nn.Embedding(50, 16), nn.Linear(16, 4)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        counted = attention_mask[..., None].to(torch.float32)
        found = torch.tanh(self.words(input_ids)) * counted
        answer: Tensor = self.head(found.sum(1) / counted.sum(1))
        return answer


def reader() -> tuple[nn.Module, ModelSpec]:
    tokens = TensorSpec("input_ids", (1, 12), "int64", (0, 49))
    mask = TensorSpec("attention_mask", (1, 12), "int64", (0, 1))
    return Reader(), ModelSpec(
        None, (OutputSpec("topic", "classification", TOPICS),), (tokens, mask)
    )


def wrong_shape() -> tuple[nn.Module, ModelSpec]:
    return Spotter(), ModelSpec(None, WORD, (TensorSpec("spectrogram", (1, 1, 20, 10)),))


class Listener(nn.Module):
    """Hears 64 samples at a time, at a volume; its state goes back in with the next ones."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.ear = nn.Conv1d(1, 12, 16, 8)
        self.memory = nn.GRU(12, 8, num_layers=2)
        self.head = nn.Linear(8, 3)

    def forward(self, sound: Tensor, state: Tensor, volume: Tensor) -> tuple[Tensor, Tensor]:
        heard = torch.relu(self.ear(volume * sound[:, None])).permute(2, 0, 1)
        steps, after = self.memory(heard, state)
        scores: Tensor = 5 * self.head(steps[-1])
        return scores, after


LISTENER = ModelSpec(
    None,
    (*WORD, OutputSpec("state")),
    (TensorSpec("sound", (1, 64)), TensorSpec("state", (2, 1, 8)), TensorSpec("volume", ())),
)


def listener() -> tuple[nn.Module, ModelSpec]:
    return Listener(), LISTENER


def listener_of_words() -> tuple[nn.Module, ModelSpec]:
    state = OutputSpec("state", "embedding")
    return Listener(), ModelSpec(None, (*WORD, state), LISTENER.tensors)
