"""The worker's Fargate service."""

from __future__ import annotations

from typing import Any, cast

from cdktf import Fn, ITerraformDependable, TerraformResourceLifecycle, TerraformStack
from cdktf_cdktf_provider_aws.cloudwatch_log_group import CloudwatchLogGroup
from cdktf_cdktf_provider_aws.ecs_cluster import EcsCluster, EcsClusterSetting
from cdktf_cdktf_provider_aws.ecs_service import (
    EcsService,
    EcsServiceDeploymentCircuitBreaker,
    EcsServiceLoadBalancer,
    EcsServiceNetworkConfiguration,
)
from cdktf_cdktf_provider_aws.ecs_task_definition import (
    EcsTaskDefinition,
    EcsTaskDefinitionRuntimePlatform,
    EcsTaskDefinitionVolume,
)

from stacks import iam, image, shell
from stacks.balancer import Balancer
from stacks.capacity import capacity
from stacks.config import Config
from stacks.keys import Keys
from stacks.leases import LeaseTables
from stacks.names import Names
from stacks.network import WORKER_PORT, Network
from stacks.registry import Registry
from stacks.sources import source_defaults, sources_path
from stacks.storage import Storage
from stacks.stream import Stream

CONTAINER = "worker"
# Seconds beyond the grace period, so that a worker ends by itself; Fargate allows a stop timeout of 120.
STOP_TIMEOUT_MARGIN_SECONDS = 10
NON_ROOT = "10001:10001"
HEALTH_COMMAND = ["CMD", "python", "-m", "kcl_worker.operating.healthcheck"]


class Service:
    """Cluster, task definition and service, under the names that users' commands contain.

    Args:
        balancer: What tells the world of the tasks' health; None without one.
    """

    def __init__(
        self,
        stack: TerraformStack,
        config: Config,
        account: str,
        network: Network,
        stream: Stream,
        storage: Storage,
        tables: LeaseTables,
        registry: Registry,
        balancer: Balancer | None,
        keys: Keys,
    ) -> None:
        self._config, self.balancer = config, balancer
        logs = CloudwatchLogGroup(
            stack,
            "logs",
            name=Names(config).log,
            retention_in_days=config.service.log_retention_days,
            kms_key_id=keys.arn,
        )
        self.log_group = logs.name
        variables = self._variables(stream, storage, tables)
        self.task_role = iam.task_role(stack, config, account, tables, storage, keys)
        execution = iam.execution_role(stack, config, account, registry, logs.arn)
        self.cluster = EcsCluster(
            stack,
            "cluster",
            name=Names(config).cluster,
            setting=[EcsClusterSetting(name="containerInsights", value="enabled")],
            configuration=shell.logged(logs.name) if config.service.exec else None,
        )
        service = config.service
        self.definition = EcsTaskDefinition(
            stack,
            "task-definition",
            family=Names(config).task_family,
            skip_destroy=True,  # a deployment that fails is rolled back to the definition before it
            cpu=str(service.cpu),
            memory=str(service.memory),
            network_mode="awsvpc",
            requires_compatibilities=["FARGATE"],
            runtime_platform=EcsTaskDefinitionRuntimePlatform(
                cpu_architecture=service.architecture, operating_system_family="LINUX"
            ),
            task_role_arn=self.task_role.arn,
            execution_role_arn=execution.arn,
            # The root file system is read-only; only this folder is writable, for sockets and the daemon's files.
            volume=[EcsTaskDefinitionVolume(name="scratch")],
            container_definitions=Fn.jsonencode([self._container(registry, variables)]),
        )
        place = capacity(stack, config, self.cluster)
        policies = [cast(ITerraformDependable, stack.node.find_child(f"{id_}-policy")) for id_ in ("task", "execution")]
        self.service = EcsService(
            stack,
            "service",
            name=Names(config).service,
            cluster=self.cluster.arn,
            task_definition=self.definition.arn,
            launch_type=place.launch_type,
            capacity_provider_strategy=place.strategy or None,
            # Another strategy takes a deployment, and terraform would replace the service to get one.
            force_new_deployment=True if place.strategy else None,
            desired_count=service.min_tasks,  # at the start; then autoscaling sets it
            lifecycle=TerraformResourceLifecycle(ignore_changes=["desired_count"]),
            health_check_grace_period_seconds=120 if balancer else None,
            deployment_minimum_healthy_percent=100,
            deployment_maximum_percent=200,
            deployment_circuit_breaker=EcsServiceDeploymentCircuitBreaker(enable=True, rollback=True),
            propagate_tags="SERVICE",
            enable_execute_command=service.exec,
            network_configuration=EcsServiceNetworkConfiguration(
                subnets=network.private, security_groups=[network.task_group], assign_public_ip=False
            ),
            load_balancer=[
                EcsServiceLoadBalancer(
                    target_group_arn=balancer.target.arn, container_name=CONTAINER, container_port=WORKER_PORT
                )
            ]
            if balancer
            else None,
            # Tasks that start before their role may do anything fail, and count against the deployment.
            depends_on=[*(balancer.ready if balancer else []), *place.ready, *policies],
        )

    def _variables(self, stream: Stream, storage: Storage, tables: LeaseTables) -> dict[str, str]:
        """The worker's environment variables; none is secret. A changed one is a new definition, so tasks follow it.

        In Parameter Store, whose ARNs stay the same, a change would reach the tasks that start later, and them alone.
        """
        service = self._config.service
        values = {
            "AWS_REGION": self._config.region,
            "KINESIS_STREAM_NAME": stream.name,
            "S3_BUCKET_NAME": storage.bucket.bucket,
            "SQS_QUEUE_URL": storage.results.url,
            "QUARANTINE_QUEUE_URL": storage.quarantine.url,
            "EVENTS_QUEUE_URL": storage.events.url,
            "QUARANTINE_KEEPS": service.quarantine_keeps,
            "KCL_APPLICATION_NAME": tables.application,
            "YOLO_MODEL_SIZE": service.model_size,
            "YOLO_PRECISION": service.precision,
            "KINESIS_RETRIEVAL_MODE": service.retrieval_mode,
            "CONFIDENCE_THRESHOLD": f"{service.confidence_threshold:g}",
            "MAX_DETECTIONS": str(service.max_detections),
            "SOURCES_PATH": sources_path(self._config),
            "TASK_MEMORY_MIB": str(service.memory),
            "SHUTDOWN_GRACE_SECONDS": str(service.shutdown_grace_seconds),
        }
        if self._config.events.bus:
            values["EVENT_BUS_NAME"] = Names(self._config).bus
        if defaults := source_defaults(self._config):
            values["SOURCE_DEFAULTS"] = Fn.jsonencode(defaults)
        if service.model:
            values["YOLO_MODEL_PATH"] = f"models/{service.model_name}.onnx"  # where the image has it
        if service.image_size:
            values["YOLO_IMAGE_SIZE"] = str(service.image_size)
        return values | self._config.worker.environment()

    def _container(self, registry: Registry, variables: dict[str, str]) -> dict[str, Any]:
        config = self._config
        return {
            "name": CONTAINER,
            "image": f"{registry.repository.repository_url}:{image.tag(config)}",
            "essential": True,
            "user": NON_ROOT,
            "readonlyRootFilesystem": not config.service.exec,
            "linuxParameters": {"initProcessEnabled": True},
            "stopTimeout": config.service.shutdown_grace_seconds + STOP_TIMEOUT_MARGIN_SECONDS,
            "mountPoints": [{"sourceVolume": "scratch", "containerPath": "/tmp", "readOnly": False}],  # noqa: S108
            "portMappings": [{"containerPort": WORKER_PORT, "protocol": "tcp"}],
            "environment": [{"name": name, "value": value} for name, value in variables.items()],
            "healthCheck": {
                "command": HEALTH_COMMAND,
                "interval": 15,
                "timeout": 5,
                "retries": 3,
                "startPeriod": 60,
            },
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": self.log_group,
                    "awslogs-region": config.region,
                    "awslogs-stream-prefix": CONTAINER,
                    # AWS's default since June 2025, non-blocking, drops what finds no room in its buffer, and counts
                    # nothing. The worker waits for no reader of its output: it keeps lines itself, counts what finds
                    # no room (`kcl_worker/operating/outlet.py`) and tells. A buffer's size has no meaning here.
                    # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_LogConfiguration.html
                    "mode": "blocking",
                },
            },
        }
