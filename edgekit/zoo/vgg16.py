"""vgg16: Simonyan and Zisserman's configuration D, one network per task.

Source [code]: the definitions published with Lapuschkin, Binder, Müller, Samek, "Understanding
and Comparing Deep Neural Networks for Age and Gender Classification", ICCV Workshops 2017.

Guessed:
- [inferred] Xavier-uniform weights. The published definitions only fine-tune, so they initialise
  the last layer alone (Gaussian, 0.01 [code]); Simonyan and Zisserman name Glorot and Bengio's
  as one that trains this network from scratch. Biases are 0.
- [inferred] the per-pixel mean image is replaced by its channel means, in RGB order; Caffe's
  weights expect BGR.

The accuracy printed in the seed paper rests on ImageNet and IMDB-WIKI pre-training, not done
here, and its age and gender figures come from two differently trained models.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgekit.zoo.heads import single_or_pair

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""The filters of each 3×3 convolution; a stage ends with 2×2 max pooling."""


def _convolutions() -> nn.Sequential:
    layers: list[nn.Module] = []
    inputs = 3
    for stage in STAGES:
        for filters in stage:
            layers += [nn.Conv2d(inputs, filters, 3, padding=1), nn.ReLU()]
            inputs = filters
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


class VGG16(nn.Module):
    """Images (N, 3, 224, 224) to a tuple of one (N, `classes`) tensor of logits."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = _convolutions()
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(4096, classes),
        )

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Return the logits, (N, classes)."""
        return (self.classifier(self.features(image)),)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, VGG16):
        nn.init.normal_(module.classifier[-1].get_parameter("weight"), std=0.01)
    elif isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.get_parameter("bias"))


def network(variant: str) -> nn.Module:
    """Return `age`, `gender` or `pair`, freshly initialised."""
    return single_or_pair(variant, VGG16, _initialise)
