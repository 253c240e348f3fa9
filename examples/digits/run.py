"""Train a small network on digits, convert it, score it, time it: `python run.py`."""

from pathlib import Path

import torch
from pictures import write_pictures
from torch import nn

import edgekit

pixels, labels = write_pictures(Path("digits"))
images, answers = torch.tensor(pixels[:, None] / 255).float(), torch.tensor(labels)
model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10)
)
optimiser = torch.optim.Adam(model.parameters(), 0.01)
for _ in range(60):
    optimiser.zero_grad()
    nn.functional.cross_entropy(model(images), answers).backward()
    optimiser.step()
torch.export.save(torch.export.export(model.eval(), (images[:1],)), "digits.pt2")

spec = Path(__file__).with_name("spec.toml")
edgekit.convert("digits.pt2", "out", spec=spec, calibration="digits/train", force=True)
for judged in edgekit.evaluate("out", "digits"):
    print(f"{judged.artifact.label}: {judged.assessment.scores[0].exact.percent:.1f} % right")
for measured in edgekit.bench("out", images="digits/test", min_seconds=0.2):
    row = edgekit.summary_row(measured)
    print(f"{measured.title}: p50 {row['p50_ms']:.4f} ms, {row['verdict']}")
