"""What an environment may cost in a month; the topic of alarms is told before it costs more."""

from __future__ import annotations

from typing import Final

from cdktf import TerraformStack
from cdktf_cdktf_provider_aws.budgets_budget import BudgetsBudget, BudgetsBudgetCostFilter, BudgetsBudgetNotification

from stacks.config import Config
from stacks.names import PIPELINE_TAG, Names
from stacks.topic import AlarmTopic

# Of the budget: what is spent, and what AWS expects of the whole month. A forecast takes five weeks of history.
# https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-create.html
NOTIFICATIONS: Final = (("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100))


def limit(stack: TerraformStack, config: Config, topic: AlarmTopic) -> None:
    """Sets a budget in dollars a month for all that carries the environment's tag.

    One tag alone tells them: AWS joins the values of a filter with `or`. The bill knows a tag once it is activated as
    a cost allocation tag: https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/activating-tags.html
    """
    BudgetsBudget(
        stack,
        "budget",
        name=Names(config).own("budget"),
        budget_type="COST",
        limit_amount=f"{config.alarms.budget:g}",
        limit_unit="USD",
        time_unit="MONTHLY",
        cost_filter=[
            BudgetsBudgetCostFilter(name="TagKeyValue", values=[f"user:{PIPELINE_TAG}${Names(config).own()}"])
        ],
        notification=[
            BudgetsBudgetNotification(
                notification_type=kind,
                comparison_operator="GREATER_THAN",
                threshold=percent,
                threshold_type="PERCENTAGE",
                subscriber_sns_topic_arns=[topic.arn],
            )
            for kind, percent in NOTIFICATIONS
        ],
        depends_on=[topic.policy],  # AWS takes no topic that it may not tell
    )
