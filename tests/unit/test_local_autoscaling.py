"""The embedded Application Auto Scaling, where stock moto differs from the service."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from local.resources import Resources

PLACE = {"ServiceNamespace": "ecs", "ResourceId": "service/c/none", "ScalableDimension": "ecs:service:DesiredCount"}


def test_what_is_not_there_cannot_be_deleted_and_the_error_says_so(resources: Resources) -> None:
    scaling = resources.client("application-autoscaling")
    with pytest.raises(ClientError, match="ObjectNotFoundException"):
        scaling.delete_scaling_policy(PolicyName="none", **PLACE)
    with pytest.raises(ClientError, match="ObjectNotFoundException"):
        scaling.deregister_scalable_target(**PLACE)
