"""The example package's own test: edgekit's conformance suite, on its own backend."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgekit.artifact import Artifact, load_artifact
from edgekit.conformance import BackendConformance


class TestMatrix(BackendConformance):
    """All that edgekit asks of a backend."""

    backend = "matrix"

    @pytest.fixture
    def artifact(self) -> Artifact:
        """What `edgekit convert --backend matrix` wrote."""
        return load_artifact(Path(os.environ["ACME_ARTIFACT"]))
