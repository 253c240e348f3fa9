"""What every backend promises, as tests that any backend's package can run on its own artifacts.

    # test_mine.py
    from edgekit.conformance import BackendConformance

    class TestMine(BackendConformance):
        backend = "mine"

        @pytest.fixture
        def artifact(self, tmp_path):
            return load_artifact(...)          # one that `edgekit convert` made

pytest collects the methods; `artifact` is a fixture. Every test goes through the
very program that measures the backend's artifacts.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from edgekit.artifact import Artifact
from edgekit.backends import MEMBERS, backend_names, load_backend
from edgekit.devices import open_device
from edgekit.kinds import kind_of
from edgekit.session import entry, lay_out, noise, put_pixels
from edgekit.targets import HOST, load_target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgekit.outputs import Outputs

IMAGES = 6


class BackendConformance:
    """Subclass it, name the backend, and give an `artifact` fixture."""

    backend = ""

    def test_the_backend_is_listed_and_has_every_member(self) -> None:
        """It is found by name, and offers something."""
        assert self.backend in backend_names()
        module = load_backend(self.backend)
        assert all(hasattr(module, name) for name in MEMBERS)
        assert module.PRECISIONS and module.RUNTIME and callable(module.build)

    def test_the_manifest_is_the_backends(self, artifact: Artifact) -> None:
        """What was built is what was asked for."""
        manifest = artifact.manifest
        assert manifest.backend == self.backend
        assert manifest.precision in load_backend(self.backend).PRECISIONS
        assert artifact.path.is_file()

    def test_outputs_have_the_manifests_names_and_shapes(self, artifact: Artifact) -> None:
        """Every output is there, finite float32, one decision's worth an image."""
        import numpy as np

        outputs = run_outputs(artifact, pixels_for(artifact))
        specs = {output.name: output for output in artifact.manifest.outputs}
        assert set(outputs) == set(specs)
        for name, value in outputs.items():
            assert value.dtype == np.float32 and np.isfinite(value).all()
            assert len(value) == IMAGES
            assert not kind_of(specs[name]).shape_fault(specs[name], (1, *value.shape[1:]))

    def test_the_same_image_gives_the_same_answer_whatever_came_before(
        self, artifact: Artifact
    ) -> None:
        """No state is carried from one image to the next."""
        import numpy as np

        pixels = pixels_for(artifact)
        forward = run_outputs(artifact, pixels)
        backward = run_outputs(artifact, pixels[::-1])
        for name, value in forward.items():
            assert np.array_equal(value, backward[name][::-1])

    def test_feed_follows_the_contract(self, artifact: Artifact) -> None:
        """Pixels reach the artifact as its manifest's `feed` says."""
        import msgspec
        import numpy as np

        from edgekit.onboard import runner

        (image, *_) = pixels_for(artifact)
        tensor = runner.feed(image, msgspec.to_builtins(artifact.manifest))
        assert tensor.dtype == np.dtype(artifact.manifest.feed)
        if artifact.manifest.feed == "int8":
            assert np.array_equal(tensor[0].astype(int) + 128, image.astype(int))
        elif artifact.manifest.feed == "uint8":
            assert np.array_equal(tensor[0], image)


def pixels_for(artifact: Artifact) -> NDArray[np.uint8]:
    """Return seeded noise at an artifact's input size, uint8 N×H×W×C."""
    return noise(artifact.manifest.image, IMAGES)


def run_outputs(artifact: Artifact, pixels: NDArray[np.uint8]) -> Outputs:
    """Return an artifact's outputs on this machine by name, each (N, …).

    Raises DeviceError where it does not run.
    """
    with closing(open_device("local", load_target(HOST))) as device:
        session = lay_out(device, entry(artifact))
        return session.outputs(put_pixels(device, pixels), len(pixels), timeout=120)[0]
