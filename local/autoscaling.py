"""A correction to moto's Application Auto Scaling.

moto 5.2 answers `ListTagsForResource` with status 500, and Terraform repeats the call 25 times. Here tags are kept
by the resource's ARN, as the service does.

`correct()` applies it to moto, once per process.
"""

from __future__ import annotations

import json
from typing import Any

from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse

_tags: dict[str, dict[str, str]] = {}
_stock_register = ApplicationAutoScalingResponse.register_scalable_target


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


def correct() -> None:
    """Applies the correction to moto."""
    response: Any = ApplicationAutoScalingResponse
    response.register_scalable_target = _register_scalable_target
    response.list_tags_for_resource = _list_tags_for_resource
    response.tag_resource = _tag_resource
    response.untag_resource = _untag_resource
