"""Corrections where moto's enforcement of IAM differs from the service.

- Stock moto 5.2 checks every action of most services against the resource `*`, so that a caller that may use a certain
  stream or table is denied it. Here the request names the resource (`local.request_resources`).
- Conditions hold or do not (`local.policies`); moto takes a condition that does not hold for a denial.
- A role's permissions boundary limits what its policies allow, and who hands a role to a service has to be allowed to:
  https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
- Of an object that is not there, S3 says `AccessDenied` to who may not list its bucket:
  https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
- A batch of SQS needs the permission of its single action, CloudWatch's actions begin with `cloudwatch`, and a denial
  comes in the format of the service's protocol.

`correct()` applies it to moto, once per process; `enforcement(url)` turns enforcement on for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.request import Request, urlopen

from moto import settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.core.exceptions import AccessDeniedError, JsonRESTError
from moto.events.responses import EventsHandler
from moto.iam.access_control import AssumedRoleAccessKey, IAMPolicy, IAMRequest, IAMRequestBase, PermissionResult
from moto.iam.exceptions import NotFoundException
from moto.iam.models import iam_backends
from moto.kms.responses import KmsResponse
from moto.s3.models import s3_backends

from local import policies
from local.request_resources import ANY, RESOURCES, key_of
from local.waiting import PATIENCE_SECONDS

# Where the name that a request is signed for is not that of its actions.
_SERVICES: Final = {"monitoring": "cloudwatch"}
# Parameters of a request that are keys of its context.
_CONTEXT: Final = {
    "PermissionsBoundary": "iam:PermissionsBoundary",
    "AWSServiceName": "iam:AWSServiceName",
    "Namespace": "cloudwatch:namespace",
    "prefix": "s3:prefix",
}
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
_ACTIONS: Final = {"s3:HeadBucket": "s3:ListBucket", "s3:HeadObject": "s3:GetObject"}
# Who may not list the bucket is not told that it lacks an object.
_OF_OBJECTS: Final = ("s3:GetObject", "s3:GetObjectTagging")
_ROLES: Final = ("taskRoleArn", "executionRoleArn")


def _enforced() -> bool:
    """Whether requests are checked now; to look into each costs time that most of them need not take."""
    return ActionAuthenticatorMixin.request_count >= settings.INITIAL_NO_AUTH_ACTION_COUNT


def _when_enforced(determine: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda response: determine(response) if _enforced() else ANY


def _authorize(self: Any, iam_request_cls: Any, resource: str = ANY) -> Any:
    """Checks a request, whose parameters conditions may be about."""
    if not _enforced():
        return _stock_authorize(self, iam_request_cls, resource)
    context: dict[str, str | list[str]] = {"aws:RequestedRegion": self.region, "aws:SecureTransport": "true"}
    context |= _of_keys(self) if isinstance(self, KmsResponse) else {}
    context |= {key: str(value) for name, key in _CONTEXT.items() if (value := self._get_param(name))}
    roles = [role for name in _ROLES if (role := self._get_param(name))]
    if isinstance(self, EventsHandler):
        # IAM looks at each entry; two sources at once are none of this project's.
        sources = {entry.get("Source", "") for entry in self._get_param("Entries") or []}
        context["events:source"] = sources.pop() if len(sources) == 1 else ""
        roles += [role for target in self._get_param("Targets") or [] if (role := target.get("RoleArn"))]
    if "iam:PermissionsBoundary" not in context and (name := self._get_param("RoleName")):
        # Of a role that is there, its own: it limits the policies that the role gets.
        roles_there = {role.name: role for role in iam_backends[self.current_account]["aws"].roles.values()}
        if name in roles_there and (boundary := roles_there[name].permissions_boundary_arn):
            context["iam:PermissionsBoundary"] = boundary
    with policies.request(context, roles):
        return _stock_authorize(self, iam_request_cls, resource)


def _of_keys(self: KmsResponse) -> dict[str, str | list[str]]:
    """The tags in a request to KMS, and the tags and aliases of its key; where they are none, they are no keys.

    https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-resource-aliases
    """
    tags = {"Request": self._get_param("Tags") or []}
    if key := key_of(self):
        tags["Resource"] = self.kms_backend.list_resource_tags(key.id)["Tags"]
    context: dict[str, str | list[str]] = {
        f"aws:{where}Tag/{tag['TagKey']}": tag["TagValue"] for where, found in tags.items() for tag in found
    }
    return context | ({"kms:ResourceAliases": sorted(key.aliases)} if key and key.aliases else {})


def _check_action_permitted(self: Any, resource: str) -> None:
    service, _, action = self._action.partition(":")
    service = _SERVICES.get(service, service)
    if service == "sqs":
        action = action.removesuffix("Batch")
    self._action = _ACTIONS.get(name := f"{service}:{action}", name)
    try:
        _stock_check(self, resource)
    except NotFoundException:  # the role of the session is gone
        self._raise_access_denied()
    _check_boundary(self, resource)
    if self._action in _OF_OBJECTS and _is_missing(resource, self.account_id):
        self._action = "s3:ListBucket"  # without a prefix
        _stock_check(self, resource.partition("/")[0])
    if self._action in ("ecs:RegisterTaskDefinition", "events:PutTargets"):
        self._action = "iam:PassRole"
        for role in policies.passed_roles():
            _stock_check(self, role)


def _is_missing(resource: str, account: str) -> bool:
    bucket, _, key = resource.removeprefix("arn:aws:s3:::").partition("/")
    backend = s3_backends[account]["aws"]
    return bucket in backend.buckets and backend.get_object(bucket, key) is None


def _check_boundary(self: Any, resource: str) -> None:
    if not isinstance(self._access_key, AssumedRoleAccessKey) or self._action == "sts:GetCallerIdentity":
        return
    backend = iam_backends[self.account_id][self._access_key.partition]
    boundary = backend.get_role(self._access_key._owner_role_name).permissions_boundary_arn
    if not boundary:
        return
    policy = IAMPolicy(backend.get_policy(boundary))
    if policy.is_action_permitted(self._action, resource) is not PermissionResult.PERMITTED:
        self._raise_access_denied()


def _raise_access_denied(self: Any) -> None:
    text = f"{self._access_key.arn} is not authorized to perform {self._action}"
    if self._headers.get("X-Amz-Target"):
        raise JsonRESTError("AccessDeniedException", text)
    raise AccessDeniedError(user_arn=self._access_key.arn, action=self._action)


_stock_check = IAMRequestBase.check_action_permitted
_stock_authorize: Any = ActionAuthenticatorMixin._authenticate_and_authorize_action


def correct() -> None:
    """Applies the corrections to moto."""
    for response, determine in RESOURCES.items():
        response._determine_resource = _when_enforced(determine)
    mixin: Any = ActionAuthenticatorMixin
    mixin._authenticate_and_authorize_action = _authorize
    IAMRequestBase.check_action_permitted = _check_action_permitted  # type: ignore[method-assign]
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
