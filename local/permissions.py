"""A correction where moto's enforcement of IAM differs from the service.

Stock moto 5.2 checks every action of most services against the resource `*`, so that a caller that may use a certain
stream or table is denied it. Here the request names the resource of an action:

| service | resource |
| --- | --- |
| Kinesis | the stream, by name, ARN or shard iterator |
| DynamoDB | the table, or its index |
| Systems Manager | the first parameter, or the path |

moto handles SQS and S3 correctly. A batch of SQS needs the permission of its single action, and a denial comes in the
format of the service's protocol. Conditions are not checked (`cloudwatch:namespace`, `aws:SecureTransport`); the
stack's conditions are tested as documents.

`correct()` applies it to moto, once per process; `enforcement(url)` turns enforcement on for a while.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

from moto.core.exceptions import AccessDeniedError, JsonRESTError
from moto.dynamodb.responses import DynamoHandler
from moto.iam.access_control import IAMRequest
from moto.kinesis.responses import KinesisResponse
from moto.kinesis.utils import decompose_shard_iterator
from moto.ssm.responses import SimpleSystemManagerResponse

from local.waiting import PATIENCE_SECONDS


def _arn(self: Any, service: str, resource: str) -> str:
    return f"arn:aws:{service}:{self.region}:{self.current_account}:{resource}"


def _parameters(self: Any) -> dict[str, Any]:
    body: Any = self.body or "{}"  # DynamoDB's body is decoded already
    parameters: dict[str, Any] = body if isinstance(body, dict) else json.loads(body)
    return parameters


def _stream(self: Any) -> str:
    parameters = _parameters(self)
    if arn := parameters.get("StreamARN"):
        return str(arn)
    name = parameters.get("StreamName")
    if not name and (iterator := parameters.get("ShardIterator")):
        name = decompose_shard_iterator(iterator)[0]
    return _arn(self, "kinesis", f"stream/{name}") if name else "*"


def _table(self: Any) -> str:
    parameters = _parameters(self)
    name = parameters.get("TableName") or next(iter(parameters.get("RequestItems", {})), None)
    if not name:
        return "*"
    arn = name if name.startswith("arn:") else _arn(self, "dynamodb", f"table/{name}")
    index = parameters.get("IndexName")
    return f"{arn}/index/{index}" if index else arn


def _parameter(self: Any) -> str:
    parameters = _parameters(self)
    name = parameters.get("Name") or parameters.get("Path") or next(iter(parameters.get("Names", [])), None)
    return _arn(self, "ssm", f"parameter/{name.lstrip('/')}") if name else "*"


def _check_action_permitted(self: Any, resource: str) -> None:
    if self._service == "sqs":
        self._action = self._action.removesuffix("Batch")
    _stock_check(self, resource)


def _raise_access_denied(self: Any) -> None:
    text = f"{self._access_key.arn} is not authorized to perform {self._action}"
    if self._headers.get("X-Amz-Target"):
        raise JsonRESTError("AccessDeniedException", text)
    raise AccessDeniedError(user_arn=self._access_key.arn, action=self._action)


_stock_check = IAMRequest.check_action_permitted


def correct() -> None:
    """Applies the correction to moto."""
    hooks: dict[Any, Any] = {KinesisResponse: _stream, DynamoHandler: _table, SimpleSystemManagerResponse: _parameter}
    for response, determine in hooks.items():
        response._determine_resource = determine
    IAMRequest.check_action_permitted = _check_action_permitted  # type: ignore[method-assign]
    IAMRequest._raise_access_denied = _raise_access_denied  # type: ignore[method-assign]


@contextmanager
def enforcement(url: str) -> Iterator[None]:
    """Makes the embedded AWS check signatures and policies; then nobody is an administrator by default."""
    _require_authorization_after(url, "0")
    try:
        yield
    finally:
        _require_authorization_after(url, "inf")


def _require_authorization_after(url: str, requests: str) -> None:
    text = Request(f"{url}/moto-api/reset-auth", requests.encode(), {"Content-Type": "text/plain"})  # noqa: S310
    urlopen(text, timeout=PATIENCE_SECONDS).close()  # noqa: S310
