"""A dataset of images named CLASS__NUMBER.png."""

from __future__ import annotations

from pathlib import PurePosixPath

from edgekit.data import Dataset, Decisions, Sample, SplitPlan
from edgekit.data.dataset import hash_files
from edgekit.data.stores import ImageStore


def looks_like(names: list[str]) -> bool:
    """Tell it by its names."""
    return bool(names) and all("__" in PurePosixPath(name).name for name in names)


def open_dataset(name: str, store: ImageStore, plan: SplitPlan) -> Dataset:
    """Return every image in its test split."""
    decisions = Decisions()
    hashes = hash_files(store, store.names(), decisions)
    classes = tuple(sorted({PurePosixPath(file).name.split("__")[0] for file in hashes}))
    samples = tuple(
        Sample(
            name=file,
            sha256=value,
            labels={"animal": classes.index(PurePosixPath(file).name.split("__")[0])},
            split="test",
        )
        for file, value in hashes.items()
    )  # fmt: skip
    return Dataset(
        name=name,
        protocol="acme pairs",
        labels={"animal": classes},
        samples=samples,
        store=store,
        decisions=decisions,
    )
