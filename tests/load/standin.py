"""AWS Secrets Manager, as far as the benchmark needs it: a process that answers and counts.

It speaks the JSON protocol of boto3 for GetSecretValue and BatchGetSecretValue, and answers every
call after the same latency, so that what is measured is the operator and not a database. No secret
is stored: every key exists, its value follows from the key and the number of its rotations. Keys
under ``missing/`` do not exist.

An *account* is the access key id that a request is signed with. Each has a behaviour of its own,
so that one process plays the store that works and the one that does not. Signatures are not
checked.

What a test sees of it is under ``/control``: ``stats``, ``reset``, ``rotate?key=…`` (or ``?all``),
``behaviour?account=…&mode=…``.

Refused: moto, which costs some milliseconds of CPU for each call and knows no latency.
"""

import argparse
import asyncio
import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

import uvloop
from aiohttp import web

Mode = Literal["ok", "hang", "slow", "garbage", "error", "throttle"]

#: AWS's own limit on the ids of one batch.
BATCH: Final = 20
MISSING: Final = "missing/"
#: Seconds that "slow" takes, and after which "hang" drops a connection that nobody has closed.
SLOW: Final = 60.0
HANG: Final = 600.0

_TARGET: Final = "secretsmanager."
_CONTENT: Final = "application/x-amz-json-1.1"
_NOT_FOUND: Final = "Secrets Manager can't find the specified secret."
_CREATED: Final = 1_700_000_000


class StandIn:
    """The answers, and what was asked."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._rotations: Counter[str] = Counter()
        self._all_rotations = 0
        self._modes: dict[str, str] = {}
        self._reset()

    def _reset(self) -> None:
        self._calls: Counter[str] = Counter()
        self._accounts: Counter[str] = Counter()
        self._ids = 0

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Any request."""
        if request.path.startswith("/control/"):
            return self._control(request)
        operation = request.headers.get("X-Amz-Target", "").removeprefix(_TARGET)
        account = _account(request.headers.get("Authorization", ""))
        body = await request.json()
        ids = body["SecretIdList"] if "SecretIdList" in body else [body.get("SecretId", "")]
        self._calls[operation] += 1
        self._accounts[account] += 1
        self._ids += len(ids)
        refusal = await self._misbehave(self._modes.get(account, "ok"))
        if refusal is not None:
            return refusal
        await asyncio.sleep(self._latency)
        match operation:
            case "GetSecretValue":
                return self._one(ids[0])
            case "BatchGetSecretValue" if 1 <= len(ids) <= BATCH:
                return self._batch(ids)
            case "BatchGetSecretValue":
                return _failure("InvalidParameterException", f"1 to {BATCH} ids, not {len(ids)}.")
        return _failure("UnknownOperationException", operation)

    async def _misbehave(self, mode: str) -> web.Response | None:
        match mode:
            case "hang":
                await asyncio.sleep(HANG)
            case "slow":
                await asyncio.sleep(SLOW)
            case "garbage":
                return web.Response(text="<html>It works!</html>", content_type="text/html")
            case "error":
                return _failure("InternalServiceError", "An error occurred.", status=500)
            case "throttle":
                return _failure("ThrottlingException", "Rate exceeded")
        return None

    def _one(self, key: str) -> web.Response:
        if key.startswith(MISSING):
            return _failure("ResourceNotFoundException", _NOT_FOUND)
        return _answer(self._value(key))

    def _batch(self, keys: list[str]) -> web.Response:
        errors = [
            {"SecretId": key, "ErrorCode": "ResourceNotFoundException", "Message": _NOT_FOUND}
            for key in keys
            if key.startswith(MISSING)
        ]
        values = [self._value(key) for key in keys if not key.startswith(MISSING)]
        return _answer({"SecretValues": values, "Errors": errors})

    def _value(self, key: str) -> dict[str, Any]:
        rotations = self._rotations[key] if self._rotations else 0
        digest = hashlib.sha256(f"{key}/{self._all_rotations}/{rotations}".encode()).digest()
        content = f'{{"username":"load","password":"{digest.hex()}"}}'
        return {
            "ARN": f"arn:aws:secretsmanager:eu-central-1:123456789012:secret:{key}-AbCdEf",
            "Name": key,
            "VersionId": str(uuid.UUID(bytes=digest[:16], version=4)),
            "SecretString": content,
            "VersionStages": ["AWSCURRENT"],
            "CreatedDate": _CREATED + self._all_rotations + rotations,
        }

    def _control(self, request: web.BaseRequest) -> web.Response:
        query = request.query
        match request.path.removeprefix("/control/"):
            case "stats":
                pass
            case "reset":
                self._reset()
            case "rotate" if "all" in query:
                self._all_rotations += 1
            case "rotate" if "key" in query:
                self._rotations[query["key"]] += 1
            case "behaviour" if query.get("mode") in get_args(Mode):
                self._modes[query.get("account", "")] = query["mode"]
            case _:
                return web.Response(status=400, text=f"not understood: {request.path_qs}\n")
        return web.json_response(
            {"calls": self._calls, "ids": self._ids, "accounts": self._accounts}
        )


def _account(authorization: str) -> str:
    """The access key id of ``AWS4-HMAC-SHA256 Credential=<id>/<date>/…``."""
    return authorization.partition("Credential=")[2].partition("/")[0]


def _answer(body: Mapping[str, Any], *, status: int = 200) -> web.Response:
    return web.Response(
        body=json.dumps(body, separators=(",", ":")).encode(),
        status=status,
        headers={"Content-Type": _CONTENT},
    )


def _failure(code: str, text: str, *, status: int = 400) -> web.Response:
    return _answer({"__type": code, "message": text}, status=status)


async def _serve(port: int, latency: float) -> None:
    standin = StandIn(latency)
    # A handler ends with its client: what hangs must not pile up here.
    runner = web.ServerRunner(
        web.Server(standin.handle, access_log=None, handler_cancellation=True)
    )
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m load.standin", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--latency", type=float, default=0.005, help="seconds for each call")
    arguments = parser.parse_args()
    uvloop.run(_serve(arguments.port, arguments.latency))


if __name__ == "__main__":
    main()
