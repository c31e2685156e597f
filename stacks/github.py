"""What GitHub's workflows may do: they plan with a role that reads and deploy with a role that changes.

Workflows hold no key: GitHub signs their identity, and AWS checks it (OpenID Connect). The plan role is for pull
requests of the repository, the deploy role for jobs in the GitHub environment of the same name, which reviewers guard.
An operator applies this stack with `make bootstrap`, so that no workflow can widen its own rights.
"""

from __future__ import annotations

from dataclasses import dataclass

from cdktf import TerraformOutput, TerraformStack
from cdktf_cdktf_provider_aws.data_aws_iam_policy_document import (
    DataAwsIamPolicyDocument,
    DataAwsIamPolicyDocumentStatementCondition,
    DataAwsIamPolicyDocumentStatementPrincipals,
)
from cdktf_cdktf_provider_aws.iam_openid_connect_provider import IamOpenidConnectProvider
from cdktf_cdktf_provider_aws.iam_policy import IamPolicy
from cdktf_cdktf_provider_aws.iam_role import IamRole
from cdktf_cdktf_provider_aws.iam_role_policy import IamRolePolicy
from cdktf_cdktf_provider_aws.provider import AwsProvider, AwsProviderDefaultTags
from constructs import Construct

from stacks.config import Config
from stacks.iam import boundary_arn
from stacks.policies import Statement, allow, document
from stacks.state import keep_state, state_bucket_name

ISSUER = "token.actions.githubusercontent.com"
PIPELINE_ROLES = ("task", "execution", "replication")
ROLE_READS = (
    "GetRole", "GetRolePolicy", "ListRolePolicies", "ListAttachedRolePolicies", "ListInstanceProfilesForRole",
)  # fmt: skip
ROLE_WRITES = ("DeleteRole", "DeleteRolePolicy", "TagRole", "UntagRole", "UpdateAssumeRolePolicy")
ROLE_WRITES_WITHIN_BOUNDARY = ("CreateRole", "PutRolePolicy", "PutRolePermissionsBoundary")


@dataclass(frozen=True, slots=True)
class Service:
    """A service's resources that belong to the pipeline, and the actions that read how they are set up.

    These actions read nothing of their content: no frame, message, record, item or image.
    """

    name: str
    reads: tuple[str, ...]
    resources: tuple[str, ...]


# Services whose reading actions cannot be limited to resources, or whose resources do not carry this project's names.
# These actions read the setup of a network, a balancer, alarms and log groups, never their content.
UNNAMED_READS = (
    "ec2:Describe*",
    "elasticloadbalancing:Describe*",
    "application-autoscaling:Describe*",
    "application-autoscaling:ListTagsForResource",
    "ecs:DescribeTaskDefinition",
    "cloudwatch:DescribeAlarms",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "ssm:DescribeParameters",
    "kms:DescribeKey",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListResourceTags",
    "ecr:GetAuthorizationToken",
    "sts:GetCallerIdentity",
)
# The changing actions of these services, for the same reason; a condition limits them to the region.
UNNAMED_WRITES = (
    "ec2:AllocateAddress", "ec2:Associate*", "ec2:Attach*", "ec2:Authorize*", "ec2:Create*", "ec2:Delete*",
    "ec2:Detach*", "ec2:Disassociate*", "ec2:Modify*", "ec2:ReleaseAddress", "ec2:Replace*", "ec2:Revoke*",
    "elasticloadbalancing:*", "application-autoscaling:*", "ecs:RegisterTaskDefinition", "ecs:DeregisterTaskDefinition",
    "kms:CreateKey", "kms:TagResource", "kms:PutKeyPolicy", "kms:EnableKeyRotation", "kms:ScheduleKeyDeletion",
    "logs:PutResourcePolicy", "logs:DeleteResourcePolicy",
)  # fmt: skip


def services(config: Config, account: str) -> list[Service]:
    """The pipeline's services with their resources' ARNs."""
    region = config.region

    def arn(service: str, resource: str) -> str:
        return f"arn:aws:{service}:{region}:{account}:{resource}"

    own, stream = config.name("cv2kinesis"), config.name(config.stream.name)
    queues = [config.name(config.storage.queue + kind) for kind in ("", "-dlq", "-quarantine")]
    regions = [region, config.storage.replica_region or region]
    buckets = sorted({config.name(config.storage.bucket_name(account, where)) for where in regions})
    tables = [stream, f"{stream}-WorkerMetricStats", f"{stream}-CoordinatorState"]
    groups = [config.name(name) for name in ("/ecs/videoPipeline", "/aws/events/cv2kinesis-task-failures")]
    cluster, service = config.name("VideoPipelineStack-Cluster"), config.name("VideoPipelineStack-Service")
    tags = "ListTagsForResource"
    return [
        Service("kinesis", ("Describe*", "ListTagsForStream", tags), (arn("kinesis", f"stream/{stream}"),)),
        Service(
            "dynamodb", ("Describe*", "ListTagsOfResource"), tuple(arn("dynamodb", f"table/{name}") for name in tables)
        ),
        Service(
            "s3",
            ("GetBucket*", "GetLifecycleConfiguration", "GetEncryptionConfiguration", "GetReplicationConfiguration",
             "GetAccelerateConfiguration", "ListBucket"),
            tuple(f"arn:aws:s3:::{name}" for name in buckets),
        ),
        Service(
            "sqs", ("GetQueueAttributes", "GetQueueUrl", "ListQueueTags"), tuple(arn("sqs", name) for name in queues)
        ),
        Service(
            "ecr",
            ("DescribeRepositories", "DescribeImages", "GetLifecyclePolicy", "GetRepositoryPolicy", tags),
            (arn("ecr", f"repository/{stream}"),),
        ),
        Service("ssm", ("GetParameter", "GetParameters", tags), (arn("ssm", f"parameter/{own}/*"),)),
        Service("logs", (tags,), tuple(arn("logs", f"log-group:{name}{end}") for name in groups for end in ("", ":*"))),
        Service("sns", ("GetTopicAttributes", "GetSubscriptionAttributes", tags), (arn("sns", f"{own}-alarms"),)),
        Service(
            "events", ("DescribeRule", "ListTargetsByRule", tags), (arn("events", f"rule/{own}-task-failures"),)
        ),
        Service(
            "cloudwatch",
            ("GetDashboard", tags),
            (arn("cloudwatch", f"alarm:{own}-*"),
             f"arn:aws:cloudwatch::{account}:dashboard/{config.name('VideoPipeline')}"),
        ),
        Service(
            "ecs",
            ("DescribeClusters", "DescribeServices", tags),
            (arn("ecs", f"cluster/{cluster}"), arn("ecs", f"service/{cluster}/{service}")),
        ),
    ]  # fmt: skip


class GithubStack(TerraformStack):
    """Two roles for workflows, and the permissions boundary of the roles that a deployment makes."""

    def __init__(self, scope: Construct, id_: str, config: Config, environment: str, account: str) -> None:
        super().__init__(scope, id_)
        self._config, self._account = config, account
        tags = AwsProviderDefaultTags(tags={"project": "cv2kinesis", "environment": environment, **config.tags})
        AwsProvider(self, "aws", region=config.region, default_tags=[tags])
        keep_state(self, config, f"{environment}/github.tfstate", account)
        if config.github.create_provider:
            IamOpenidConnectProvider(self, "provider", url=f"https://{ISSUER}", client_id_list=["sts.amazonaws.com"])
        self._boundary()
        state = f"arn:aws:s3:::{state_bucket_name(account, config.region)}"
        key = f"{environment}/terraform.tfstate"
        used, roles = services(config, account), self._role_arns()
        common = [
            allow("ReadRoles", [f"iam:{action}" for action in ROLE_READS], roles),
            allow("ReadUnnamed", UNNAMED_READS, ["*"]),
            allow("FindState", ["s3:ListBucket"], [state]),
            allow("ReadState", ["s3:GetObject"], [f"{state}/{key}"]),
            allow("LockState", ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], [f"{state}/{key}.tflock"]),
        ]
        plan = [
            *common,
            *(allow(f"Read{s.name.title()}", [f"{s.name}:{a}" for a in s.reads], s.resources) for s in used),
        ]
        deploy = [
            *common,
            *(allow(f"Change{s.name.title()}", [f"{s.name}:*"], s.resources) for s in used),
            allow("ChangeUnnamed", UNNAMED_WRITES, ["*"], aws__RequestedRegion=config.region),
            allow("ChangeRoles", [f"iam:{action}" for action in ROLE_WRITES], roles),
            allow(
                "ChangeRolesWithinBoundary",
                [f"iam:{action}" for action in ROLE_WRITES_WITHIN_BOUNDARY],
                roles,
                iam__PermissionsBoundary=boundary_arn(config, account),
            ),
            allow("PassRoles", ["iam:PassRole"], roles),
            allow("WriteState", ["s3:PutObject"], [f"{state}/{key}"]),
        ]
        self._role("plan", "pull_request", plan)
        self._role("deploy", f"environment:{environment}", deploy)

    def _role_arns(self) -> list[str]:
        names = (self._config.name(f"cv2kinesis-{role}") for role in PIPELINE_ROLES)
        return [f"arn:aws:iam::{self._account}:role/{name}" for name in names]

    def _boundary(self) -> None:
        """The most that a role of the pipeline can be allowed: the use of the pipeline's own resources."""
        config, account = self._config, self._account
        used = {service.name: list(service.resources) for service in services(config, account)}
        statements = [
            allow("Stream", ["kinesis:Describe*", "kinesis:Get*", "kinesis:List*", "kinesis:RegisterStreamConsumer",
                             "kinesis:SubscribeToShard"],
                  [*used["kinesis"], *(f"{stream}/consumer/*" for stream in used["kinesis"])]),
            allow("Tables", ["dynamodb:*Item", "dynamodb:Describe*", "dynamodb:Query", "dynamodb:Scan"],
                  [*used["dynamodb"], *(f"{table}/index/*" for table in used["dynamodb"])]),
            allow("Frames", ["s3:Get*", "s3:List*", "s3:PutObject", "s3:Replicate*"],
                  [*used["s3"], *(f"{bucket}/*" for bucket in used["s3"])]),
            allow("Queues", ["sqs:SendMessage", "sqs:GetQueueAttributes"], used["sqs"]),
            allow("Image", ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                  used["ecr"]),
            allow("Parameters", ["ssm:GetParameters", "ssm:GetParametersByPath"], used["ssm"]),
            allow("Logs", ["logs:CreateLogStream", "logs:PutLogEvents"], used["logs"]),
            # Neither can be limited to resources.
            allow("Others", ["cloudwatch:PutMetricData", "ecr:GetAuthorizationToken"], ["*"]),
        ]  # fmt: skip
        policy = document(self, "boundary-permissions", statements)
        IamPolicy(self, "boundary", name=config.name("cv2kinesis-boundary"), policy=policy.json)

    def _role(self, id_: str, subject: str, statements: list[Statement]) -> None:
        repository = self._config.github.repository
        conditions = {f"{ISSUER}:aud": "sts.amazonaws.com", f"{ISSUER}:sub": f"repo:{repository}:{subject}"}
        provider = f"arn:aws:iam::{self._account}:oidc-provider/{ISSUER}"
        trust = Statement(
            actions=["sts:AssumeRoleWithWebIdentity"],
            principals=[DataAwsIamPolicyDocumentStatementPrincipals(type="Federated", identifiers=[provider])],
            condition=[
                DataAwsIamPolicyDocumentStatementCondition(test="StringEquals", variable=name, values=[value])
                for name, value in conditions.items()
            ],
        )
        role = IamRole(
            self,
            id_,
            name=self._config.name(f"cv2kinesis-{id_}"),
            assume_role_policy=DataAwsIamPolicyDocument(self, f"{id_}-trust", statement=[trust]).json,
            max_session_duration=3600,
        )
        policy = document(self, f"{id_}-permissions", statements)
        IamRolePolicy(self, f"{id_}-policy", name="permissions", role=role.id, policy=policy.json)
        TerraformOutput(self, f"{id_.title()}RoleArn", value=role.arn)
