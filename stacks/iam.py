"""Who may do what: the worker's role and the role that starts its tasks."""

from __future__ import annotations

from cdktf import TerraformStack
from cdktf_cdktf_provider_aws.iam_role import IamRole
from cdktf_cdktf_provider_aws.iam_role_policy import IamRolePolicy

from contract.event import EVENT_SOURCE
from stacks import shell
from stacks.config import Config
from stacks.keys import Keys
from stacks.leases import INDEX, LeaseTables
from stacks.names import Names
from stacks.policies import Statement, allow, allow_service, document
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
    source: str | None = None,
) -> IamRole:
    """A role with one policy that an AWS service takes on behalf of this account.

    Args:
        source: A pattern of the ARNs of the resources for which it takes the role; None for all of the account's.
    """
    made = IamRole(
        stack,
        id_,
        name=Names(config).own(id_),
        assume_role_policy=document(
            stack, f"{id_}-trust", [allow_service(None, service, ["sts:AssumeRole"], [], account, source)]
        ).json,
        # A pull request could change these roles, so they stay within the boundary that the operator has set.
        permissions_boundary=boundary_arn(config, account) if config.github.repository else None,
    )
    policy = document(stack, f"{id_}-permissions", statements)
    IamRolePolicy(stack, f"{id_}-policy", name="permissions", role=made.id, policy=policy.json)
    return made


def boundary_arn(config: Config, account: str) -> str:
    """The permissions boundary of the pipeline's roles; `stacks/github.py` makes it."""
    return f"arn:aws:iam::{account}:policy/{Names(config).own('boundary')}"


def task_role(
    stack: TerraformStack, config: Config, account: str, tables: LeaseTables, storage: Storage, keys: Keys
) -> IamRole:
    """A role for the calls of the worker and its KCL daemon, and for nothing else."""
    # KCL's daemon does not make tables that exist; it reads their state and changes their items only.
    items = ("GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan", "BatchGetItem", "BatchWriteItem")
    table_arns = [tables.leases.arn, tables.reports.arn, tables.coordinator.arn]
    reads = ("DescribeStream", "DescribeStreamSummary", "ListShards", "GetShardIterator", "GetRecords")
    names = Names(config)
    # ARNs are made from names, so that a plan that changes the number of shards does not show the role as changed.
    stream_arn = names.arn(account, "kinesis", f"stream/{names.stream}")
    settings = names.arn(account, "ssm", f"parameter{sources_path(config)}")
    stored = [f"{storage.bucket.arn}/{prefix}/*" for prefix in ("frames", "quarantine")]
    events = f"{storage.bucket.arn}/events/*"
    statements = [
        allow("ReadStream", [f"kinesis:{action}" for action in reads], [stream_arn]),
        allow("Leases", [f"dynamodb:{action}" for action in ("DescribeTable", *items)], table_arns),
        allow("LeasesByOwner", ["dynamodb:Query"], [f"{tables.leases.arn}/index/{INDEX}"]),
        allow("StoreFrames", ["s3:PutObject"], [*stored, events]),
        # Which lifecycle rule deletes them: a source's `keep_days`.
        allow("SayHowLong", ["s3:PutObjectTagging"], [*stored, events]),
        # Whether a frame that is too old now was processed before (`LAG_POLICY=skip-stale`), without reading it.
        allow("LookForFrames", ["s3:GetObjectTagging"], stored),
        # The tracks of sources, which outlive a lease.
        allow("Remember", ["s3:GetObject", "s3:PutObject"], [f"{storage.bucket.arn}/state/*"]),
        allow("ReadSourceSettings", ["ssm:GetParametersByPath"], [settings, f"{settings}/*"]),
        # A queue's attributes say how long a message may be.
        allow(
            "Announce",
            ["sqs:SendMessage", "sqs:GetQueueAttributes"],
            [storage.results.arn, storage.events.arn, storage.quarantine.arn],
        ),
    ]
    if config.events.bus:
        bus = names.arn(account, "events", f"event-bus/{names.bus}")
        statements.append(allow("TellBus", ["events:PutEvents"], [bus], events__source=EVENT_SOURCE))
    statements += keys.use("Keys")
    if config.service.retrieval_mode == "FANOUT":
        # KCL registers its application as a consumer of the stream.
        consumers = ("RegisterStreamConsumer", "DescribeStreamConsumer", "SubscribeToShard")
        arns = [stream_arn, f"{stream_arn}/consumer/{tables.application}:*"]
        statements.append(allow("FanOut", [f"kinesis:{action}" for action in consumers], arns))
    if config.service.exec:
        statements += shell.statements(names.arn(account, "logs", f"log-group:{names.log}"))
    return role(stack, config, "task", account, statements)


def execution_role(
    stack: TerraformStack, config: Config, account: str, registry: Registry, log_group_arn: str
) -> IamRole:
    """A role with what ECS needs to start a task: its image and its logs."""
    pull = ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer")
    statements = [
        allow("PullImage", [f"ecr:{action}" for action in pull], [registry.repository.arn]),
        # GetAuthorizationToken cannot be limited to resources.
        allow("LogInToRegistry", ["ecr:GetAuthorizationToken"], ["*"]),
        allow("WriteLogs", ["logs:CreateLogStream", "logs:PutLogEvents"], [f"{log_group_arn}:*"]),
    ]
    return role(stack, config, "execution", account, statements)
