"""Faults of the embedded AWS, injected at will: what a service does on a bad day.

A fault is posted to `/local/faults` as JSON and lasts until it is removed or its seconds are over; `GET` gives the
faults and the requests that have been counted since the start, by service and action.

| kind | what a client sees |
| --- | --- |
| throttle | the service's own throttling error |
| error | status 500, a body that is no answer |
| reset | the connection ends without an answer |
| slow | an answer after some seconds |
| expired | credentials that are no longer valid |
| partial | PutRecords and SendMessageBatch take some entries and refuse others |
| conflict | a conditional write of DynamoDB that does not hold |
"""

from __future__ import annotations

import io
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from http.client import responses
from typing import Any, Final
from urllib.parse import parse_qs
from urllib.request import Request, urlopen

PATH: Final = "/local/faults"
# The access key of whoever watches what the faults do; it meets none.
OBSERVER: Final = "observer"

Application = Callable[..., Iterable[bytes]]

_THROTTLED: Final = {
    "kinesis": "ProvisionedThroughputExceededException",
    "dynamodb": "ProvisionedThroughputExceededException",
    "sqs": "RequestThrottled",
    "s3": "SlowDown",
}
_EXPIRED: Final = {"s3": "ExpiredToken", "sqs": "ExpiredToken"}
_CONDITIONAL: Final = frozenset({"PutItem", "UpdateItem", "DeleteItem"})
# Where a batch's entries are, what its answer calls them, and what it calls those that failed.
_BATCHES: Final = {"PutRecords": "Records", "SendMessageBatch": "Entries"}


@dataclass(frozen=True, slots=True)
class Fault:
    """What shall go wrong.

    Attributes:
        service: As in the credential scope (`s3`, `sqs`, `kinesis`, `dynamodb`); empty for all.
        action: Such as `PutItem`; empty for all.
        share: Of the requests, from 0 to 1.
        seconds: After which it is over; 0 for never.
        delay: Of slow answers, in seconds.
    """

    kind: str
    service: str = ""
    action: str = ""
    share: float = 1.0
    seconds: float = 0.0
    delay: float = 5.0


class Faults:
    """A layer around the embedded AWS."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._faults: list[tuple[Fault, float]] = []
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._random = random.Random(5)  # noqa: S311

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == PATH:
            return self._control(environ, start_response)
        service, action = _service(environ), _action(environ)
        if f"Credential={OBSERVER}/" in environ.get("HTTP_AUTHORIZATION", ""):
            return self._application(environ, start_response)
        with self._lock:
            self._requests[f"{service}:{action}"] += 1
            fault = next((fault for fault in self._active() if self._hits(fault, service, action)), None)
        if fault is None:
            return self._application(environ, start_response)
        return self._fail(fault, service, action, environ, start_response)

    def _control(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            if environ["REQUEST_METHOD"] == "POST":
                fault = Fault(**json.loads(_body(environ)))
                self._faults.append((fault, time.monotonic() + fault.seconds if fault.seconds else float("inf")))
            elif environ["REQUEST_METHOD"] == "DELETE":
                self._faults.clear()
            answer = {"faults": [asdict(fault) for fault in self._active()], "requests": dict(self._requests)}
        return _answer(start_response, 200, json.dumps(answer).encode())

    def _active(self) -> list[Fault]:
        now = time.monotonic()
        return [fault for fault, end in self._faults if now < end]

    def _hits(self, fault: Fault, service: str, action: str) -> bool:
        if fault.service not in ("", service) or fault.action not in ("", action):
            return False
        if fault.kind == "partial" and action not in _BATCHES:
            return False
        if fault.kind == "conflict" and action not in _CONDITIONAL:
            return False
        return self._random.random() < fault.share

    def _fail(
        self, fault: Fault, service: str, action: str, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        match fault.kind:
            case "throttle":
                return _refuse(start_response, service, _THROTTLED.get(service, "ThrottlingException"))
            case "expired":
                return _refuse(start_response, service, _EXPIRED.get(service, "ExpiredTokenException"))
            case "conflict":
                return _refuse(start_response, service, "ConditionalCheckFailedException")
            case "error":
                return _answer(start_response, 500, b"<html>Internal Server Error</html>")
            case "reset":
                raise ConnectionResetError("injected")
            case "slow":
                time.sleep(fault.delay)
                return self._application(environ, start_response)
            case "partial":
                return self._take_some(action, environ, start_response)
        raise ValueError(f"no such fault: {fault.kind}")

    def _take_some(self, action: str, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Passes every other entry on, and refuses the rest."""
        request = json.loads(_body(environ))
        name = _BATCHES[action]
        entries = request[name]
        taken = [entry for number, entry in enumerate(entries) if number % 2]
        refused = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "injected"}
        if action == "SendMessageBatch":
            failed = [{"Id": e["Id"], "Code": "InternalError", "SenderFault": False} for e in entries if e not in taken]
            inner = self._forward(environ, request | {name: taken}) if taken else {"Successful": []}
            return _answer(start_response, 200, json.dumps(inner | {"Failed": failed}).encode())
        inner = self._forward(environ, request | {name: taken}) if taken else {"Records": []}
        accepted = iter(inner["Records"])
        records = [next(accepted) if number % 2 else refused for number in range(len(entries))]
        answer = {"FailedRecordCount": len(entries) - len(taken), "Records": records}
        return _answer(start_response, 200, json.dumps(answer).encode())

    def _forward(self, environ: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps(request).encode()
        inner = environ | {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        answer: dict[str, Any] = json.loads(b"".join(self._application(inner, lambda *_: None)))
        return answer


class FaultControl:
    """The other side: posts faults to an embedded AWS.

    with FaultControl(aws.url).inject(Fault("throttle", "s3")): …
    """

    def __init__(self, url: str) -> None:
        self._url = url + PATH

    def add(self, fault: Fault) -> None:
        """From now on."""
        self._call("POST", json.dumps(asdict(fault)).encode())

    def clear(self) -> None:
        """Ends all faults."""
        self._call("DELETE")

    def requests(self) -> dict[str, int]:
        """Requests so far, by `service:action`."""
        requests: dict[str, int] = self._call("GET")["requests"]
        return requests

    def _call(self, method: str, body: bytes | None = None) -> dict[str, Any]:
        request = Request(self._url, body, {"Content-Type": "application/json"}, method=method)  # noqa: S310
        with urlopen(request, timeout=10) as response:  # noqa: S310
            answer: dict[str, Any] = json.load(response)
        return answer


def _service(environ: dict[str, Any]) -> str:
    """From …Credential=KEY/20260101/eu-central-1/SERVICE/aws4_request."""
    scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].partition(",")[0].split("/")
    return scope[-2] if len(scope) > 1 else ""


def _action(environ: dict[str, Any]) -> str:
    """From the target's header; S3's actions are named by method, others by their form."""
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return str(target).rpartition(".")[2]
    form = parse_qs(environ.get("QUERY_STRING", ""))
    return form["Action"][0] if "Action" in form else str(environ["REQUEST_METHOD"])


def _body(environ: dict[str, Any]) -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0) or -1)
    return body


def _refuse(start_response: Callable[..., Any], service: str, code: str) -> Iterable[bytes]:
    """An error in the form of the service's protocol."""
    if service == "s3":
        status = 503 if code == "SlowDown" else 400
        return _answer(
            start_response, status, f"<Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
        )
    return _answer(start_response, 400, json.dumps({"__type": code, "message": "injected"}).encode())


def _answer(start_response: Callable[..., Any], status: int, body: bytes) -> Iterable[bytes]:
    kind = "application/xml" if body.startswith(b"<") else "application/x-amz-json-1.1"
    headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    start_response(f"{status} {responses.get(status, '')}", headers)
    return [body]
