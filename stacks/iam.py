"""Who may do what: the worker's role and the role that starts its tasks."""

from __future__ import annotations

from cdktf import TerraformStack
from cdktf_cdktf_provider_aws.iam_role import IamRole
from cdktf_cdktf_provider_aws.iam_role_policy import IamRolePolicy

from stacks.config import Config
from stacks.leases import INDEX, LeaseTables
from stacks.policies import Statement, allow, document, trust
from stacks.registry import Registry
from stacks.sources import sources_path
from stacks.storage import Storage


def role(
    stack: TerraformStack,
    config: Config,
    id_: str,
    account: str,
    statements: list[Statement],
    *,
    service: str = "ecs-tasks.amazonaws.com",
) -> IamRole:
    """A role for a service of AWS on behalf of this account, with one policy."""
    made = IamRole(
        stack,
        id_,
        name=config.name(f"cv2kinesis-{id_}"),
        assume_role_policy=trust(stack, f"{id_}-trust", service, aws__SourceAccount=account).json,
        # Roles that a pull request could change never go beyond what the operator has drawn for them.
        permissions_boundary=boundary_arn(config, account) if config.github.repository else None,
    )
    policy = document(stack, f"{id_}-permissions", statements)
    IamRolePolicy(stack, f"{id_}-policy", name="permissions", role=made.id, policy=policy.json)
    return made


def boundary_arn(config: Config, account: str) -> str:
    """The permissions boundary of the pipeline's roles; `stacks/github.py` makes it."""
    return f"arn:aws:iam::{account}:policy/{config.name('cv2kinesis-boundary')}"


def task_role(stack: TerraformStack, config: Config, account: str, tables: LeaseTables, storage: Storage) -> IamRole:
    """What the worker and its KCL daemon call, and nothing else."""
    # KCL's daemon makes no tables that are there; it reads their state, and changes items alone.
    items = ("GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan", "BatchGetItem", "BatchWriteItem")
    table_arns = [tables.leases.arn, tables.reports.arn, tables.coordinator.arn]
    reads = ("DescribeStream", "DescribeStreamSummary", "ListShards", "GetShardIterator", "GetRecords")
    # Made of names: a plan that changes the number of shards shall not show the role as changed.
    stream_arn = f"arn:aws:kinesis:{config.region}:{account}:stream/{config.name(config.stream.name)}"
    settings = f"arn:aws:ssm:{config.region}:{account}:parameter{sources_path(config)}"
    statements = [
        allow("ReadStream", [f"kinesis:{action}" for action in reads], [stream_arn]),
        allow("Leases", [f"dynamodb:{action}" for action in ("DescribeTable", *items)], table_arns),
        allow("LeasesByOwner", ["dynamodb:Query"], [f"{tables.leases.arn}/index/{INDEX}"]),
        allow(
            "StoreFrames", ["s3:PutObject"], [f"{storage.bucket.arn}/{prefix}/*" for prefix in ("frames", "quarantine")]
        ),
        # Tracks of sources, from one lease to the next.
        allow("Remember", ["s3:GetObject", "s3:PutObject"], [f"{storage.bucket.arn}/state/*"]),
        allow("ReadSourceSettings", ["ssm:GetParametersByPath"], [settings, f"{settings}/*"]),
        allow("Announce", ["sqs:SendMessage"], [storage.results.arn, storage.quarantine.arn]),
        # PutMetricData knows no resources; the namespace stands in for one.
        allow("Metrics", ["cloudwatch:PutMetricData"], ["*"], cloudwatch__namespace=tables.application),
    ]
    if config.service.retrieval_mode == "FANOUT":
        # KCL registers its application as a consumer of the stream.
        consumers = ("RegisterStreamConsumer", "DescribeStreamConsumer", "SubscribeToShard")
        arns = [stream_arn, f"{stream_arn}/consumer/{tables.application}:*"]
        statements.append(allow("FanOut", [f"kinesis:{action}" for action in consumers], arns))
    return role(stack, config, "task", account, statements)


def execution_role(
    stack: TerraformStack, config: Config, account: str, registry: Registry, log_group_arn: str, parameters: list[str]
) -> IamRole:
    """What ECS needs to start a task: its image, its logs, its parameters."""
    pull = ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer")
    statements = [
        allow("PullImage", [f"ecr:{action}" for action in pull], [registry.repository.arn]),
        # GetAuthorizationToken knows no resources.
        allow("LogInToRegistry", ["ecr:GetAuthorizationToken"], ["*"]),
        allow("WriteLogs", ["logs:CreateLogStream", "logs:PutLogEvents"], [f"{log_group_arn}:*"]),
        allow("ReadParameters", ["ssm:GetParameters"], parameters),
    ]
    return role(stack, config, "execution", account, statements)
