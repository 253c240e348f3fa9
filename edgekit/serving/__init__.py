"""`serve`: one artifact behind a small HTTP endpoint, with a page to drop a picture on.

    GET  /            the page
    POST /predict     a picture's bytes as the body → the answer as JSON
    GET  /health      which artifact answers

The model runs in a process of its own (worker.py), which is ended and started again when it takes
too long or dies. Only pictures of a limited size are read, for a limited time.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.artifact import Artifact
from edgekit.errors import MissingPackage
from edgekit.serving.worker import Busy, Failed, TooSlow, Worker

_FILES = Path(__file__).parent
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request may take: its body in bytes, and seconds to send it and to answer it."""

    body_bytes: int = 20_000_000
    upload_s: float = 30.0
    answer_s: float = 30.0


def application(artifact: Artifact, worker: Worker, limits: Limits, host: str) -> Any:
    """Return the ASGI application. Raises MissingPackage without Starlette."""
    try:
        from starlette.applications import Starlette
        from starlette.concurrency import run_in_threadpool
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.requests import ClientDisconnect, Request
        from starlette.responses import JSONResponse, Response
        from starlette.routing import Route
    except ImportError:
        raise MissingPackage("starlette", "serve") from None

    def refused(status: int, reason: str) -> JSONResponse:
        return JSONResponse({"error": reason}, status)

    async def body(request: Request) -> bytes | None:
        """Return the body, or None as soon as it is over the limit."""
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > limits.body_bytes:
                return None
            parts.append(part)
        return b"".join(parts)

    async def predict(request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        # A form of another site cannot send these: its browser would ask here first.
        if not kind.startswith("image/") and kind != "application/octet-stream":
            return refused(
                415, "send the picture's bytes with Content-Type: image/jpeg or the like"
            )
        length = request.headers.get("content-length", "0")
        too_large = f"the picture is larger than {limits.body_bytes / 1e6:g} MB"
        if length.isdigit() and int(length) > limits.body_bytes:
            return refused(413, too_large)
        try:
            data = await asyncio.wait_for(body(request), limits.upload_s)
        except TimeoutError:
            return refused(408, f"the picture did not arrive within {limits.upload_s:g} s")
        except ClientDisconnect:
            return refused(400, "the picture did not arrive whole")
        if data is None:
            return refused(413, too_large)
        if not data:
            return refused(400, "the body is empty: send the picture's bytes")
        try:
            answer = await run_in_threadpool(worker.ask, data, limits.answer_s)
        except Busy:
            return refused(503, "too many pictures are waiting: try again")
        except TooSlow:
            return refused(504, f"no answer within {limits.answer_s:g} s")
        except Failed as error:
            return refused(500, str(error))
        if "error" in answer:
            return refused(422, f"the picture cannot be read: {answer['error']}")
        return JSONResponse(answer)

    async def health(request: Request) -> Response:
        return JSONResponse({"artifact": artifact.label, "sha256": artifact.sha256})

    text, policy = page(artifact.label)

    async def index(request: Request) -> Response:
        headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}
        return Response(text, media_type="text/html", headers=headers)

    # A name that leads here from elsewhere (DNS rebinding) is no way in.
    hosts = [*LOOPBACK, "[::1]"] if host in LOOPBACK else ["*"]
    return Starlette(
        routes=[
            Route("/", index),
            Route("/health", health),
            Route("/predict", predict, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)],
    )


def page(label: str) -> tuple[str, str]:
    """Return the page and its content policy; it loads nothing from anywhere else."""
    from html import escape

    style, script = (_FILES / "page.css").read_text(), (_FILES / "page.js").read_text()
    text = (
        (_FILES / "page.html")
        .read_text()
        .replace("{{label}}", escape(label))
        .replace("{{style}}", style)
        .replace("{{script}}", script)
    )
    policy = (
        f"default-src 'none'; connect-src 'self'; img-src blob:; "
        f"style-src {_digest(style)}; script-src {_digest(script)}"
    )
    return text, policy


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
