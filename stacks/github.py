"""What GitHub's workflows may do: they plan with a role that reads and deploy with a role that changes.

Workflows hold no key: GitHub signs their identity, and AWS checks it (OpenID Connect). The plan role is for pull
requests of the repository and for the daily comparison of its main branch, the deploy role for jobs in the GitHub
environment of the same name, which reviewers guard. An operator applies this stack with `make bootstrap`, so that no
workflow can widen its own rights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cdktf import TerraformOutput, TerraformStack
from cdktf_cdktf_provider_aws.data_aws_iam_policy_document import (
    DataAwsIamPolicyDocument,
    DataAwsIamPolicyDocumentStatementPrincipals,
)
from cdktf_cdktf_provider_aws.iam_openid_connect_provider import IamOpenidConnectProvider
from cdktf_cdktf_provider_aws.iam_policy import IamPolicy
from cdktf_cdktf_provider_aws.iam_role import IamRole
from cdktf_cdktf_provider_aws.iam_role_policy import IamRolePolicy
from cdktf_cdktf_provider_aws.iam_role_policy_attachment import IamRolePolicyAttachment
from cdktf_cdktf_provider_aws.provider import AwsProviderDefaultTags
from constructs import Construct

from contract.metrics import PRODUCERS
from stacks import shell
from stacks.account import aws_provider
from stacks.bus import other_buses
from stacks.config import Config
from stacks.iam import boundary_arn
from stacks.keys import CHANGE, DEPLOYERS_SERVICES, DEPLOYERS_USE, USE, WORKERS_SERVICES, reachable, use
from stacks.names import PIPELINE_TAG, Names
from stacks.outputs import describe
from stacks.policies import Statement, allow, condition, document
from stacks.state import keep_state, state_bucket_name, state_key

ISSUER = "token.actions.githubusercontent.com"
PIPELINE_ROLES = ("task", "execution", "replication", "routes")
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


# Services that need a role of their own in the account:
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create-service-linked-role.html
SERVICES_WITH_ROLES = (
    "elasticloadbalancing.amazonaws.com", "ecs.amazonaws.com", "ecs.application-autoscaling.amazonaws.com",
    "apidestinations.events.amazonaws.com",
)  # fmt: skip

# Services whose reading actions cannot be limited to resources, or whose resources do not carry this project's names.
# These actions read the setup of a network, a balancer, alarms and log groups, never their content.
UNNAMED_READS = (
    "ec2:Describe*",
    "elasticloadbalancing:Describe*",
    "application-autoscaling:Describe*",
    "application-autoscaling:ListTagsForResource",
    "ecs:DescribeTaskDefinition",
    "ecs:DescribeTasks",
    "ecs:ListTasks",
    "kinesis:DescribeLimits",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:GetMetricStatistics",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "ssm:DescribeParameters",
    "kms:DescribeKey",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListAliases",
    "kms:ListResourceTags",
    "ecr:GetAuthorizationToken",
    "sts:GetCallerIdentity",
    "sns:GetSubscriptionAttributes",
)
# The changing actions of these services, for the same reason; a condition limits them to the region.
UNNAMED_WRITES = (
    "ec2:AllocateAddress", "ec2:Associate*", "ec2:Attach*", "ec2:Authorize*", "ec2:Create*", "ec2:Delete*",
    "ec2:Detach*", "ec2:Disassociate*", "ec2:Modify*", "ec2:ReleaseAddress", "ec2:Replace*", "ec2:Revoke*",
    "elasticloadbalancing:*", "application-autoscaling:*", "ecs:RegisterTaskDefinition", "ecs:DeregisterTaskDefinition",
    "logs:PutResourcePolicy", "logs:DeleteResourcePolicy", "sns:SetSubscriptionAttributes",
    "sns:Unsubscribe",
)  # fmt: skip


def services(config: Config, account: str) -> list[Service]:
    """The pipeline's services with their resources' ARNs."""
    names = Names(config)
    buckets = sorted({names.bucket(account), names.bucket(account, config.storage.replica_region or None)})

    def arns(service: str, *resources: str) -> tuple[str, ...]:
        return tuple(names.arn(account, service, resource) for resource in resources)

    tags = "ListTagsForResource"
    return [
        Service("kinesis", ("Describe*", "ListTagsForStream", tags), arns("kinesis", f"stream/{names.stream}")),
        Service(
            "dynamodb", ("Describe*", "ListTagsOfResource"),
            arns("dynamodb", *(f"table/{table}" for table in names.tables)),
        ),
        Service(
            "s3",
            ("GetBucket*", "GetLifecycleConfiguration", "GetEncryptionConfiguration", "GetReplicationConfiguration",
             "GetAccelerateConfiguration", "ListBucket"),
            tuple(f"arn:aws:s3:::{name}" for name in buckets),
        ),
        Service(
            "sqs", ("GetQueueAttributes", "GetQueueUrl", "ListQueueTags"),
            arns("sqs", names.results, names.dead_letters, names.events, names.events_dead_letters, names.quarantine,
                 names.of_rule("*")),
        ),
        Service(
            "ecr",
            ("DescribeRepositories", "DescribeImages", "GetLifecyclePolicy", "GetRepositoryPolicy", tags),
            arns("ecr", f"repository/{names.stream}"),
        ),
        # Of single sources; and those that earlier versions made, which go with the next deployment.
        Service("ssm", ("GetParameter", "GetParameters", tags), arns("ssm", f"parameter{names.parameter('*')}")),
        Service(
            "logs", (tags,),
            arns("logs", *(f"log-group:{name}{end}" for name in (names.log, names.failures_log) for end in ("", ":*"))),
        ),
        Service(
            "sns", ("GetTopicAttributes", tags), arns("sns", names.own("alarms"), names.of_rule("*")),
        ),
        Service(
            "budgets", ("ViewBudget", tags), (f"arn:aws:budgets::{account}:budget/{names.own('budget')}",)
        ),
        Service(
            "events", ("Describe*", "ListTargetsByRule", tags),
            # An archive makes a rule of its own on its bus.
            arns("events", f"rule/{names.own('task-failures')}", f"rule/{names.bus}/*", f"event-bus/{names.bus}",
                 f"archive/{names.bus}", f"connection/{names.of_rule('*')}", f"api-destination/{names.of_rule('*')}"),
        ),
        Service(
            "cloudwatch",
            ("GetDashboard", tags),
            (*arns("cloudwatch", *(f"alarm:{pattern}" for pattern in names.alarms)),
             # Target tracking makes and removes its own.
             *arns("cloudwatch", f"alarm:TargetTracking-service/{names.cluster}/{names.service}-*"),
             f"arn:aws:cloudwatch::{account}:dashboard/{names.dashboard}"),
        ),
        Service(
            "ecs",
            ("DescribeClusters", "DescribeServices", tags),
            arns("ecs", f"cluster/{names.cluster}", f"service/{names.cluster}/{names.service}",
                 f"task-definition/{names.task_family}:*"),
        ),
    ]  # fmt: skip


class GithubStack(TerraformStack):
    """Two roles for workflows, and the permissions boundary of the roles that a deployment makes."""

    def __init__(self, scope: Construct, id_: str, config: Config, environment: str, account: str) -> None:
        super().__init__(scope, id_)
        self._config, self._account = config, account
        tags = AwsProviderDefaultTags(tags={"project": "cv2kinesis", "environment": environment, **config.tags})
        aws_provider(self, config, default_tags=[tags])
        keep_state(self, config, f"{environment}/github.tfstate", account)
        if config.github.create_provider:
            IamOpenidConnectProvider(self, "provider", url=f"https://{ISSUER}", client_id_list=["sts.amazonaws.com"])
        self._boundary()
        state = f"arn:aws:s3:::{state_bucket_name(account, config.region)}"
        key = state_key(environment)
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
            allow("ChangeUnnamed", UNNAMED_WRITES, ["*"], aws__RequestedRegion=config.region),
            _leave_others(environment),
            *self._change_keys(),
            *self._use_keys(DEPLOYERS_SERVICES, DEPLOYERS_USE),
            # `make smoke` counts the frames that it has sent, and looks at them.
            allow("ReadFrames", ["s3:GetObject"], [f"{bucket}/frames/*" for bucket in _frames(used)]),
            # Its producer says that it begins, as all do.
            allow("Knock", ["cloudwatch:PutMetricData"], ["*"], cloudwatch__namespace=PRODUCERS),
            # The first balancer, service and scaling of an account make a role that AWS itself takes.
            allow(
                "MakeServicesRoles",
                ["iam:CreateServiceLinkedRole"],
                [f"arn:aws:iam::{account}:role/aws-service-role/*"],
                iam__AWSServiceName=list(SERVICES_WITH_ROLES),
            ),
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
        # Beside the rest, as IAM limits the size of a role's own policies.
        named = [allow(f"Change{s.name.title()}", [f"{s.name}:*"], s.resources) for s in used]
        branch = f"refs/heads/{config.github.branch}"
        # GitHub runs schedules on the default branch alone; a pull request's `drift.yml` is one of refs/pull/.
        self._role("plan", ["pull_request", f"ref:{branch}"], ["plan.yml@*", f"drift.yml@{branch}"], plan)
        # A branch that nobody has reviewed may hold another `deploy.yml`.
        reviewed = [f"deploy.yml@{ref}" for ref in (branch, "refs/tags/v*")]
        role = self._role("deploy", [f"environment:{environment}"], reviewed, deploy)
        more = document(self, "deploy-named-permissions", [*named, *_webhooks(config, account)])
        policy = IamPolicy(self, "deploy-named", name=Names(config).own("deploy"), policy=more.json)
        IamRolePolicyAttachment(self, "deploy-named-attachment", role=role.name, policy_arn=policy.arn)

    def _change_keys(self) -> list[Statement]:
        """What makes keys under this environment's tag, and changes those that bear it.

        A request to make a key counts as one to tag it and to set its policy, too, and as such knows no key yet:
        https://docs.aws.amazon.com/service-authorization/latest/reference/list_kms.html
        https://docs.aws.amazon.com/kms/latest/developerguide/tag-permissions.html
        """
        config, names = self._config, Names(self._config)
        regions = [config.region]
        if config.encryption.own and config.storage.replica_region:
            regions.append(config.storage.replica_region)
        arn = "arn:aws:kms:{}:{}:{}".format
        keys = [arn(region, self._account, "key/*") for region in regions]
        make = ("CreateKey", "PutKeyPolicy", "TagResource")
        wanted: dict[str, str | list[str]] = {
            f"aws__RequestTag/{PIPELINE_TAG}": names.own(),
            "aws__RequestedRegion": regions,
        }
        bearing = {f"aws__ResourceTag/{PIPELINE_TAG}": names.own()}
        found = [
            allow("MakeKeys", [f"kms:{action}" for action in make], ["*"], **wanted),
            allow("ChangeKeys", [f"kms:{action}" for action in CHANGE], keys, **bearing),
            *_tag_no_others_keys(names),
        ]
        if config.encryption.own:
            # A change of an alias needs the right to both: https://docs.aws.amazon.com/kms/latest/developerguide/alias-access.html
            # No right depends on having this alias, so any key may bear it.
            aliases = [arn(region, self._account, names.key) for region in regions]
            name = ("CreateAlias", "DeleteAlias", "UpdateAlias")
            found.append(allow("NameKeys", [f"kms:{action}" for action in name], [*aliases, *keys]))
        return found

    def _use_keys(self, services: Sequence[str], actions: Sequence[str]) -> list[Statement]:
        """The use of the environment's keys, through services alone: what makes a resource tries its key."""
        return [
            use(f"UseKeys{number}", arn, region, services, actions, **conditions)
            for number, (region, (arn, conditions)) in enumerate(reachable(self._config, self._account).items())
        ]

    def _role_arns(self) -> list[str]:
        names = (Names(self._config).own(role) for role in PIPELINE_ROLES)
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
            allow("Frames", ["s3:Get*", "s3:List*", "s3:PutObject", "s3:PutObjectTagging", "s3:Replicate*"],
                  [*used["s3"], *(f"{bucket}/*" for bucket in used["s3"])]),
            allow("Queues", ["sqs:SendMessage", "sqs:GetQueueAttributes"], used["sqs"]),
            allow("Image", ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                  used["ecr"]),
            allow("Parameters", ["ssm:GetParametersByPath"], used["ssm"]),
            allow("Events", ["events:PutEvents", "events:InvokeApiDestination"],
                  [*used["events"], *other_buses(config)]),
            allow("Logs", ["logs:CreateLogStream", "logs:PutLogEvents"], used["logs"]),
            *self._use_keys(WORKERS_SERVICES, USE),
            # It cannot be limited to resources.
            allow("LogInToRegistry", ["ecr:GetAuthorizationToken"], ["*"]),
            *(shell.statements(Names(config).arn(account, "logs", f"log-group:{Names(config).log}"))
              if config.service.exec else ()),
        ]  # fmt: skip
        policy = document(self, "boundary-permissions", statements)
        IamPolicy(self, "boundary", name=Names(config).own("boundary"), policy=policy.json)

    def _role(self, id_: str, subjects: list[str], workflows: list[str], statements: list[Statement]) -> IamRole:
        """A role for jobs of this repository.

        Args:
            subjects: The ends of the identity's subject, after the repository.
            workflows: The workflows' files and refs that take it.
        """
        repository = self._config.github.repository
        # Repositories made or renamed since July 2026 bear the numbers of owner and repository as well:
        # https://github.com/github/docs/pull/45221
        numbered = "/".join(f"{part}@*" for part in repository.split("/"))
        files = [f"{repository}/.github/workflows/{workflow}" for workflow in workflows]
        provider = f"arn:aws:iam::{self._account}:oidc-provider/{ISSUER}"
        trust = Statement(
            actions=["sts:AssumeRoleWithWebIdentity"],
            principals=[DataAwsIamPolicyDocumentStatementPrincipals(type="Federated", identifiers=[provider])],
            condition=[
                condition("StringEquals", f"{ISSUER}:aud", "sts.amazonaws.com"),
                condition(
                    "StringLike",
                    f"{ISSUER}:sub",
                    [f"repo:{name}:{subject}" for subject in subjects for name in (repository, numbered)],
                ),
                condition("StringLike", f"{ISSUER}:job_workflow_ref", files),
            ],
        )
        role = IamRole(
            self,
            id_,
            name=Names(self._config).own(id_),
            assume_role_policy=DataAwsIamPolicyDocument(self, f"{id_}-trust", statement=[trust]).json,
            max_session_duration=3600,
        )
        policy = document(self, f"{id_}-permissions", statements)
        IamRolePolicy(self, f"{id_}-policy", name="permissions", role=role.id, policy=policy.json)
        output = f"{id_.title()}RoleArn"
        TerraformOutput(self, output, value=role.arn, description=describe(output))
        return role


def _webhooks(config: Config, account: str) -> list[Statement]:
    """What it takes to give webhooks their secrets, which EventBridge keeps in Secrets Manager for whoever asks it to.

    https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AmazonEventBridgeFullAccess.html
    """
    names = Names(config)
    if not (webhooks := [route for route in config.events.rules.values() if route.webhook]):
        return []
    kept = names.arn(account, "secretsmanager", f"secret:events!connection/{names.of_rule('*')}")
    actions = ("CreateSecret", "UpdateSecret", "DeleteSecret", "GetSecretValue", "PutSecretValue")
    given = sorted({names.arn(account, "ssm", f"parameter{route.secret}") for route in webhooks if route.secret})
    return [
        allow("KeepSecrets", [f"secretsmanager:{action}" for action in actions], [kept]),
        *([allow("ReadSecrets", ["ssm:GetParameter"], given)] if given else []),
    ]


def _frames(used: list[Service]) -> list[str]:
    return [resource for service in used if service.name == "s3" for resource in service.resources]


def _tag_no_others_keys(names: Names) -> list[Statement]:
    """Denies this environment's tag, and with it the change, to keys that bear another's tag or have another name."""
    tag = f"aws:ResourceTag/{PIPELINE_TAG}"
    others = {
        "LeaveTaggedKeys": [condition("Null", tag, "false"), condition("StringNotEquals", tag, names.own())],
        # A key may have several aliases: https://docs.aws.amazon.com/kms/latest/developerguide/alias-authorization.html
        "LeaveNamedKeys": [condition("ForAnyValue:StringNotEquals", "kms:ResourceAliases", names.key)],
    }
    return [
        Statement(sid=sid, effect="Deny", actions=["kms:TagResource"], resources=["*"], condition=conditions)
        for sid, conditions in others.items()
    ]


def _leave_others(environment: str) -> Statement:
    """Denies what cannot be limited by names for whatever is tagged as another environment's."""
    return Statement(
        sid="LeaveOtherEnvironments",
        effect="Deny",
        actions=list(UNNAMED_WRITES),
        resources=["*"],
        condition=[
            condition("StringEquals", "aws:ResourceTag/project", "cv2kinesis"),
            condition("StringNotEquals", "aws:ResourceTag/environment", environment),
        ],
    )
