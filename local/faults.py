"""Injects faults into the embedded AWS, like those of a failing service.

A client posts a fault to `/local/faults` as JSON. It lasts until it is removed or its seconds are over. `GET` gives the
faults and the number of requests since the start, by service and action.

| kind | what a client sees |
| --- | --- |
| throttle | the service's own throttling error |
| error | status 500 with a body that is not an answer |
| reset | the connection ends without an answer |
| slow | the answer after some seconds |
| expired | an error that its credentials have expired |
| skewed | an error that its signature is too old or too new, by a clock that is `delay` seconds ahead |
| partial | PutRecords and SendMessageBatch take some entries and refuse others |
| conflict | a failed condition of a DynamoDB write |
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
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.client import responses
from typing import Any, Final
from urllib.parse import parse_qs
from urllib.request import Request, urlopen

from local.waiting import PATIENCE_SECONDS

PATH: Final = "/local/faults"
# Requests with this access key never meet faults; observers use it.
OBSERVER: Final = "observer"

MOST_SKEW: Final = timedelta(minutes=5)
_SIGNED_AT: Final = "%Y%m%dT%H%M%SZ"

Application = Callable[..., Iterable[bytes]]

_THROTTLED: Final = {
    "kinesis": "ProvisionedThroughputExceededException",
    "dynamodb": "ProvisionedThroughputExceededException",
    "sqs": "RequestThrottled",
    "s3": "SlowDown",
}
_EXPIRED: Final = {"s3": "ExpiredToken", "sqs": "ExpiredToken"}
_CONDITIONAL: Final = frozenset({"PutItem", "UpdateItem", "DeleteItem"})
# The name of a batch's list of entries, by action.
_BATCHES: Final = {"PutRecords": "Records", "SendMessageBatch": "Entries"}


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault to inject.

    Attributes:
        service: The name in the credential scope (`s3`, `sqs`, `kinesis`, `dynamodb`); empty for all services.
        action: Such as `PutItem`; empty for all actions.
        share: Share of the requests that meet the fault, from 0 to 1.
        seconds: How long the fault lasts; 0 until it is removed.
        delay: Delay of slow answers, in seconds; how far a skewed clock is ahead.
        key: The access key whose requests meet the fault; empty for all.
    """

    kind: str
    service: str = ""
    action: str = ""
    share: float = 1.0
    seconds: float = 0.0
    delay: float = 5.0
    key: str = ""


class Faults:
    """The layer around the embedded AWS that injects faults."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._faults: list[tuple[Fault, float]] = []
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._random = random.Random(5)  # noqa: S311

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == PATH:
            return self._control(environ, start_response)
        service, action, key = _service(environ), _action(environ), _key(environ)
        if key == OBSERVER:
            return self._application(environ, start_response)
        with self._lock:
            self._requests[f"{service}:{action}"] += 1
            fault = next((fault for fault in self._active() if self._hits(fault, service, action, key)), None)
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

    def _hits(self, fault: Fault, service: str, action: str, key: str) -> bool:
        if fault.service not in ("", service) or fault.action not in ("", action) or fault.key not in ("", key):
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
            case "skewed":
                return self._tell_time(fault, service, environ, start_response)
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

    def _tell_time(
        self, fault: Fault, service: str, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Refuses what was not signed within five minutes of the service's clock, and says that clock's time."""
        now = datetime.now(UTC) + timedelta(seconds=fault.delay)
        text = environ.get("HTTP_X_AMZ_DATE", "")
        if not text:
            return self._application(environ, start_response)
        late = now - datetime.strptime(text, _SIGNED_AT).replace(tzinfo=UTC)

        def dated(status: str, headers: list[tuple[str, str]], *others: Any) -> Any:
            return start_response(status, [*headers, ("Date", format_datetime(now, usegmt=True))], *others)

        if abs(late) <= MOST_SKEW:
            return self._application(environ, start_response)
        if service == "s3":
            return _refuse(dated, service, "RequestTimeTooSkewed", "The difference is too large.")
        where = f"{'expired' if late > MOST_SKEW else 'not yet current'}: {text} against {now.strftime(_SIGNED_AT)}"
        return _refuse(dated, service, "InvalidSignatureException", f"Signature {where} by 5 min.")

    def _take_some(self, action: str, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Passes every other entry on and refuses the rest."""
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
    """The client of `Faults`: posts faults to an embedded AWS.

    with FaultControl(aws.url).inject(Fault("throttle", "s3")): …
    """

    def __init__(self, url: str) -> None:
        self._url = url + PATH

    def add(self, fault: Fault) -> None:
        """Starts a fault."""
        self._call("POST", json.dumps(asdict(fault)).encode())

    def clear(self) -> None:
        """Removes all faults."""
        self._call("DELETE")

    def requests(self) -> dict[str, int]:
        """The number of requests so far, by `service:action`."""
        requests: dict[str, int] = self._call("GET")["requests"]
        return requests

    def _call(self, method: str, body: bytes | None = None) -> dict[str, Any]:
        request = Request(self._url, body, {"Content-Type": "application/json"}, method=method)  # noqa: S310
        with urlopen(request, timeout=PATIENCE_SECONDS) as response:  # noqa: S310
            answer: dict[str, Any] = json.load(response)
        return answer


def _service(environ: dict[str, Any]) -> str:
    """The service, from …Credential=KEY/20260101/eu-central-1/SERVICE/aws4_request."""
    scope = _credential(environ)
    return scope[-2] if len(scope) > 1 else ""


def _key(environ: dict[str, Any]) -> str:
    """The access key."""
    return _credential(environ)[0]


def _credential(environ: dict[str, Any]) -> list[str]:
    return str(environ.get("HTTP_AUTHORIZATION", "")).partition("Credential=")[2].partition(",")[0].split("/")


def _action(environ: dict[str, Any]) -> str:
    """The action, from the target header; S3's actions get their method's name, other actions come from the form."""
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return str(target).rpartition(".")[2]
    form = parse_qs(environ.get("QUERY_STRING", ""))
    return form["Action"][0] if "Action" in form else str(environ["REQUEST_METHOD"])


def _body(environ: dict[str, Any]) -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0) or -1)
    return body


def _refuse(start_response: Callable[..., Any], service: str, code: str, message: str = "injected") -> Iterable[bytes]:
    """An error in the format of the service's protocol."""
    if service == "s3":
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        return _answer(start_response, {"SlowDown": 503, "RequestTimeTooSkewed": 403}.get(code, 400), body)
    return _answer(start_response, 400, json.dumps({"__type": code, "message": message}).encode())


def _answer(start_response: Callable[..., Any], status: int, body: bytes) -> Iterable[bytes]:
    kind = "application/xml" if body.startswith(b"<") else "application/x-amz-json-1.1"
    headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    start_response(f"{status} {responses.get(status, '')}", headers)
    return [body]
