"""Corrections to moto's Application Auto Scaling.

- moto 5.2 answers `ListTagsForResource` with status 500, and Terraform repeats the call 25 times. Here tags are kept by
  the resource's ARN, as the service does.
- What is not there is a `ValidationException` to moto when it is to be deleted. The service says
  `ObjectNotFoundException`, which Terraform takes for done when it repeats a request whose answer was lost.

`correct()` applies it to moto, once per process.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from moto.applicationautoscaling.exceptions import AWSValidationException
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.core.exceptions import JsonRESTError

_tags: dict[str, dict[str, str]] = {}
_stock_register = ApplicationAutoScalingResponse.register_scalable_target
_stock_deletions = {
    name: getattr(ApplicationAutoScalingResponse, name)
    for name in ("delete_scaling_policy", "deregister_scalable_target")
}


def _register_scalable_target(self: ApplicationAutoScalingResponse) -> str:
    answer = _stock_register(self)
    [target] = self.applicationautoscaling_backend.describe_scalable_targets(
        self._get_param("ServiceNamespace"), [self._get_param("ResourceId")], self._get_param("ScalableDimension")
    )
    _tags.setdefault(target.arn, {}).update(self._get_param("Tags") or {})
    return json.dumps({**json.loads(answer), "ScalableTargetARN": target.arn})


def _list_tags_for_resource(self: ApplicationAutoScalingResponse) -> str:
    return json.dumps({"Tags": _tags.get(self._get_param("ResourceARN"), {})})


def _tag_resource(self: ApplicationAutoScalingResponse) -> str:
    _tags.setdefault(self._get_param("ResourceARN"), {}).update(self._get_param("Tags"))
    return json.dumps({})


def _untag_resource(self: ApplicationAutoScalingResponse) -> str:
    for key in self._get_param("TagKeys"):
        _tags.get(self._get_param("ResourceARN"), {}).pop(key, None)
    return json.dumps({})


def _deletion(
    stock: Callable[[ApplicationAutoScalingResponse], str],
) -> Callable[[ApplicationAutoScalingResponse], str]:
    def delete(self: ApplicationAutoScalingResponse) -> str:
        try:
            return stock(self)
        except AWSValidationException as error:
            if not error.message.startswith("No scal"):
                raise
            raise JsonRESTError("ObjectNotFoundException", error.message) from error

    return delete


def correct() -> None:
    """Applies the corrections to moto."""
    response: Any = ApplicationAutoScalingResponse
    for name, stock in _stock_deletions.items():
        setattr(response, name, _deletion(stock))
    response.register_scalable_target = _register_scalable_target
    response.list_tags_for_resource = _list_tags_for_resource
    response.tag_resource = _tag_resource
    response.untag_resource = _untag_resource
