"""The witness over HTTP: `POST /add-checkpoint`, and nothing else that changes anything. Source: C2SP tlog-witness.

Nobody logs in: a request is worth what the signature on its checkpoint is worth. It runs on another machine, under another
administration than the sites whose trails it witnesses; that is the point of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool

from audit.checkpoint import Signer
from audit.errors import NoteInvalid, RecordError
from audit.witness import BAD_REQUEST, LARGEST_REQUEST, SIZE_TYPE, Refused, parse_request
from audit.witness_store import WitnessStore

_TOO_LARGE, _UNAVAILABLE = 413, 503


def _posix_seconds() -> int:
    return int(time.time())


def create_witness(store: WitnessStore, signer: Signer, seconds: Callable[[], int] = _posix_seconds) -> FastAPI:
    """Build the application of a witness; `seconds` gives the POSIX time of a cosignature."""
    app = FastAPI(title="Dosewright witness", openapi_url=None, docs_url=None, redoc_url=None)

    def answer(body: bytes) -> Response:
        try:
            outcome = store.submit(parse_request(body), signer, seconds())
        except NoteInvalid as error:
            return PlainTextResponse(f"{error.message}\n", BAD_REQUEST)
        except RecordError as error:  # the disk or the key: nothing was cosigned, and the client may ask again
            return PlainTextResponse(f"{error.code} {error.message}\n", _UNAVAILABLE)
        if isinstance(outcome, str):
            return PlainTextResponse(outcome)
        return _refusal(outcome)

    @app.post("/add-checkpoint")
    async def add_checkpoint(request: Request) -> Response:
        """Judge a checkpoint against the one cosigned before, keep it, and only then answer with the cosignature."""
        body = bytearray()
        async for block in request.stream():
            body += block
            if len(body) > LARGEST_REQUEST:
                return PlainTextResponse(f"at most {LARGEST_REQUEST} bytes\n", _TOO_LARGE)
        return await run_in_threadpool(answer, bytes(body))

    @app.get("/health")
    def health() -> Response:
        """Say that the process answers, and by which name its cosignatures are known."""
        return PlainTextResponse(f"{signer.name}\n")

    return app


def _refusal(refused: Refused) -> Response:
    if refused.latest is not None:
        return Response(f"{refused.latest}\n", refused.status, media_type=None, headers={"Content-Type": SIZE_TYPE})
    return PlainTextResponse(f"{refused.reason}\n", refused.status)
