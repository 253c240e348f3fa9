"""`edgekit serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    artifact: Annotated[Path, typer.Argument(help="An artifact's folder or model file.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; by default this machine alone is let in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8000,
    max_mb: Annotated[
        float, typer.Option(help="Refuse pictures larger than this, in megabytes.", min=0.001)
    ] = 20.0,
    timeout: Annotated[
        float, typer.Option(help="Seconds to receive a picture, and to answer it.", min=0.1)
    ] = 30.0,
) -> None:
    """Answer pictures over HTTP, with a page to drop one on. Ctrl-C ends it.

    Example: edgekit serve out/mtc/tflite-int8
    """
    from edgekit.artifact import load_artifact
    from edgekit.cli.output import tell
    from edgekit.errors import MissingPackage
    from edgekit.scratch import scratch_folder
    from edgekit.serving import LOOPBACK, Limits, application
    from edgekit.serving.worker import Worker

    loaded = load_artifact(artifact)
    try:
        import uvicorn
    except ImportError:
        raise MissingPackage("uvicorn", "serve") from None
    _check_free(host, port)
    limits = Limits(body_bytes=int(max_mb * 1e6), upload_s=timeout, answer_s=timeout)
    shown = f"[{host}]" if ":" in host else host
    with scratch_folder() as folder:
        worker = Worker(loaded, folder)
        try:
            app = application(loaded, worker, limits, host)
            if host not in LOOPBACK:
                said = "everyone who reaches this address may use it: no password, no encryption"
                tell(f"edgekit: {said}", errors=True)
            tell(
                f"{loaded.label} answers on http://{shown}:{port}/ until Ctrl-C",
                f"next: open it in a browser, or curl -H 'Content-Type: image/jpeg' "
                f"--data-binary @face.jpg http://{shown}:{port}/predict",
            )
            uvicorn.run(
                app, host=host, port=port, log_level="warning", limit_concurrency=64,
                timeout_keep_alive=10,
            )  # fmt: skip
        finally:
            worker.close()


def _check_free(host: str, port: int) -> None:
    """Raise UserError where this machine cannot listen there, before anything is loaded."""
    import socket

    from edgekit.errors import UserError

    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        raise UserError(
            f"cannot listen on {host}, port {port} ({said}): give another --port, or a --host of "
            "this machine"
        ) from None
