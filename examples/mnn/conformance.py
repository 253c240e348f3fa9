"""The package's own test: `MNN_ARTIFACT=out/mtc/mnn-fp32 python -m pytest conformance.py`."""

import os
from pathlib import Path

import pytest

from edgekit import Artifact, load_artifact
from edgekit.conformance import BackendConformance


class TestMnn(BackendConformance):
    """All that edgekit asks of a backend."""

    backend = "mnn"

    @pytest.fixture
    def artifact(self) -> Artifact:
        """What `edgekit convert --backend mnn` wrote."""
        return load_artifact(Path(os.environ["MNN_ARTIFACT"]))
