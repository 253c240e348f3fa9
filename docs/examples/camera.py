"""Answers every face in every frame of a Raspberry Pi's camera, until it is stopped.

    ~/.edgekit/apps/NAME/current/run camera.py

Needs Picamera2 (Debian: python3-picamera2) for the Python that runs the application: deploy with
`--python /usr/bin/python3` where the runtimes are installed for it, or make the environment see the
system's packages. The faces are found by dlib: `pip install dlib-bin` for the same Python. A model
of anything else answers a whole frame: `model(frame)`.
"""

import json
import time

from picamera2 import Picamera2  # type: ignore[import-not-found]
from runner import load  # type: ignore[import-not-found]


def main() -> None:
    """Print one JSON line a face: the time, its box and the answer."""
    model = load()
    camera = Picamera2()
    # Picamera2 names colours by their order in a word: its "BGR888" is an array of R, G, B.
    camera.configure(
        camera.create_video_configuration(main={"size": (640, 480), "format": "BGR888"})
    )
    camera.start()
    while True:
        for answer in model.find(camera.capture_array("main")):
            print(json.dumps({"time": time.time(), **answer}), flush=True)


if __name__ == "__main__":
    main()
