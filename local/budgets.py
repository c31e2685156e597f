"""What moto's Budgets lacks, and terraform asks for.

| moto 5.2                                    | AWS Budgets                  |
| ------------------------------------------- | ---------------------------- |
| knows no tags                               | gives those that were set    |
| does not say who is told of a notification  | lists its subscribers        |
| changes no budget                           | replaces its limit and filter |

`correct()` puts them into moto, once per process.
"""

from __future__ import annotations

import json
from typing import Any

from moto.budgets.exceptions import NotFoundException
from moto.budgets.models import Budget
from moto.budgets.responses import BudgetsResponse

_stock_create = BudgetsResponse.create_budget


def _budget(self: Any, name: str) -> Budget:
    try:
        found: Budget = self.backend.budgets[self.current_account][name]
    except KeyError:
        raise NotFoundException(f"Unable to get budget: {name} - the budget doesn't exist.") from None
    return found


def _tagged(self: Any) -> Any:
    """The budget of a request about tags, which names its ARN."""
    return _budget(self, self._get_param("ResourceARN").partition(":budget/")[2])


def _create(self: Any) -> str:
    answer = _stock_create(self)
    budget: Any = _budget(self, self._get_param("Budget")["BudgetName"])
    budget.tags = {tag["Key"]: tag["Value"] for tag in self._get_param("ResourceTags") or []}
    return answer


def _update(self: Any) -> str:
    new = self._get_param("NewBudget")
    _budget(self, new["BudgetName"]).budget.update(new)
    return "{}"


def _subscribers(self: Any) -> str:
    asked, budget = self._get_param("Notification"), _budget(self, self._get_param("BudgetName"))
    # Only these tell notifications apart: https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_budgets_Notification.html
    keys = ("NotificationType", "ComparisonOperator", "Threshold", "ThresholdType")
    for notification in budget.notifications:
        if all(notification.details.get(key) == asked.get(key) for key in keys):
            return json.dumps({"Subscribers": notification.subscribers})
    raise NotFoundException("Unable to find notification - the notification doesn't exist.")


def _list_tags(self: Any) -> str:
    return json.dumps({"ResourceTags": [{"Key": key, "Value": value} for key, value in _tagged(self).tags.items()]})


def _tag(self: Any) -> str:
    _tagged(self).tags.update({tag["Key"]: tag["Value"] for tag in self._get_param("ResourceTags")})
    return "{}"


def _untag(self: Any) -> str:
    tags = _tagged(self).tags
    for key in self._get_param("ResourceTagKeys"):
        tags.pop(key, None)
    return "{}"


def correct() -> None:
    """Applies the corrections to moto."""
    for name, method in {
        "create_budget": _create,
        "update_budget": _update,
        "describe_subscribers_for_notification": _subscribers,
        "list_tags_for_resource": _list_tags,
        "tag_resource": _tag,
        "untag_resource": _untag,
    }.items():
        setattr(BudgetsResponse, name, method)
