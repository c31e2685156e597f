"""Where moto's enforcement of IAM departs from the service, and the correction.

Stock moto 5.2 judges every action of most services against the resource `*`, so that whoever is allowed a certain
stream or table is denied it. Here the resource of an action is what the request names:

| service | resource |
| --- | --- |
| Kinesis | the stream, by name, ARN or shard iterator |
| DynamoDB | the table, or its index |
| Systems Manager | the first parameter, or the path |

SQS and S3 are right in moto. A batch of SQS needs the permission of its single action, and a denial comes in the
form of the service's own protocol. Conditions are not judged (`cloudwatch:namespace`, `aws:SecureTransport`); those
of the stack are tested as documents.

`correct()` puts it into moto, once per process; `enforcement(url)` turns it on for a while.
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


def _arn(self: Any, service: str, resource: str) -> str:
    return f"arn:aws:{service}:{self.region}:{self.current_account}:{resource}"


def _parameters(self: Any) -> dict[str, Any]:
    body: Any = self.body or "{}"  # DynamoDB's is decoded already
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
    """Puts the correction into moto."""
    hooks: dict[Any, Any] = {KinesisResponse: _stream, DynamoHandler: _table, SimpleSystemManagerResponse: _parameter}
    for response, determine in hooks.items():
        response._determine_resource = determine
    IAMRequest.check_action_permitted = _check_action_permitted  # type: ignore[method-assign]
    IAMRequest._raise_access_denied = _raise_access_denied  # type: ignore[method-assign]


@contextmanager
def enforcement(url: str) -> Iterator[None]:
    """Has the embedded AWS check signatures and policies; nobody is an administrator by default any more."""
    _require_authorization_after(url, "0")
    try:
        yield
    finally:
        _require_authorization_after(url, "inf")


def _require_authorization_after(url: str, requests: str) -> None:
    text = Request(f"{url}/moto-api/reset-auth", requests.encode(), {"Content-Type": "text/plain"})  # noqa: S310
    urlopen(text, timeout=10).close()  # noqa: S310
