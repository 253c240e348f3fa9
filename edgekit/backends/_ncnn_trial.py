"""The first run of what pnnx made, in a process of its own: ncnn ends the one that runs what it
cannot compute, a division by a size of 0, say."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import UnsupportedModel
from edgekit.scratch import run_leashed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LAYER = "layer: "
"""What a line begins with that names the layer computed next."""


def trial(
    param: Path, contract: dict[str, Any], pixels: NDArray[np.uint8]
) -> dict[str, NDArray[np.float32]]:
    """Return a float network's outputs by name, (N, …), on pixels N×H×W×C.

    Raises ValueError, with the layer, for what ncnn says it cannot compute; UnsupportedModel where
    ncnn's process died of it.
    """
    import numpy as np

    folder = param.parent
    (folder / "trial.json").write_text(json.dumps({**contract, "param": param.name}))
    np.save(folder / "trial.npy", pixels)
    # By our own folder of work: where this package is found from here, it is found there.
    command = [sys.executable, "-m", "edgekit.backends._ncnn_trial", str(folder.absolute())]
    done = run_leashed(command, Path.cwd())
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    if done.returncode:
        print(done.stdout)  # into the step's log
        last = next((line for line in reversed(lines) if line.startswith(_LAYER)), "")
        layer = last.removeprefix(_LAYER) or "none of its layers yet"
        if done.returncode < 0:
            raise UnsupportedModel(
                f"ncnn crashes on this network (signal {-done.returncode}, in {layer}): replace "
                "what that layer computes, or leave out --backend ncnn"
            )
        raise ValueError(f"{lines[-1][:200] if lines else 'no word'} ({layer})")
    with np.load(folder / "trial.npz", allow_pickle=False) as saved:
        return {name: saved[name] for name in saved.files}


def main(folder: Path) -> None:
    """Run the network of a folder layer by layer, then on every image; save what it answers."""
    import numpy as np

    from edgekit.backends._ncnn_files import read_layers
    from edgekit.onboard import runner

    contract = json.loads((folder / "trial.json").read_text())
    param = folder / contract["param"]
    pixels = np.load(folder / "trial.npy", allow_pickle=False)
    run = runner.ncnn_net(str(param), 1, keep_blobs=True).create_extractor()
    run.input("in0", runner.ncnn_input(runner.feed(pixels[0], contract), contract))
    for layer in read_layers(param):
        print(f"{_LAYER}{layer.kind} {layer.name}", flush=True)
        for blob in layer.outputs:
            if run.extract(blob)[0]:
                raise SystemExit(f"ncnn could not compute {blob}")
    print(f"{_LAYER}the whole network", flush=True)
    invoke = runner.load_ncnn(str(param), contract, 1)
    rows = [invoke(runner.feed(image, contract)) for image in pixels]
    columns = {
        name: np.stack([row[place][0] for row in rows])
        for place, name in enumerate(contract["outputs"])
    }
    runner.save_arrays(folder / "trial.npz", columns)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
