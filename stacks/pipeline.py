"""The pipeline's stack with all parts of one environment."""

from __future__ import annotations

from cdktf import Fn, TerraformOutput, TerraformStack
from cdktf_cdktf_provider_aws.data_aws_caller_identity import DataAwsCallerIdentity
from cdktf_cdktf_provider_aws.provider import AwsProviderDefaultTags
from constructs import Construct

from stacks.access import access_policies
from stacks.account import aws_provider
from stacks.autoscaling import Autoscaling
from stacks.balancer import Balancer
from stacks.budget import limit
from stacks.bus import EventBus
from stacks.config import Config
from stacks.failures import TaskFailures
from stacks.keys import Keys
from stacks.leases import LeaseTables
from stacks.names import PIPELINE_TAG, Names
from stacks.network import Network
from stacks.observability import Observability
from stacks.outputs import describe
from stacks.protection import protect
from stacks.registry import Registry
from stacks.replication import replicate
from stacks.service import Service
from stacks.sources import source_defaults, sources_path
from stacks.state import keep_state, state_key
from stacks.storage import Storage
from stacks.stream import Stream
from stacks.topic import AlarmTopic


class PipelineStack(TerraformStack):
    """Everything that one environment needs, with its state in S3.

    Args:
        account: The account of the state's bucket; None keeps the state in a local file, for tests.
        protected: Whether Terraform refuses to destroy what holds data.
    """

    def __init__(
        self, scope: Construct, id_: str, config: Config, account: str | None = None, *, protected: bool = True
    ) -> None:
        super().__init__(scope, id_)
        own = {"project": "cv2kinesis", "environment": id_, PIPELINE_TAG: Names(config).own()}
        tags = AwsProviderDefaultTags(tags={**own, **config.tags})
        aws_provider(self, config, default_tags=[tags])
        keep_state(self, config, state_key(id_), account)
        caller = DataAwsCallerIdentity(self, "caller")
        keys = Keys(self, config, caller.account_id)
        stream, network = Stream(self, config, keys.arn), Network(self, config)
        storage, tables = Storage(self, config, caller.account_id, keys.arn), LeaseTables(self, config, keys.arn)
        if config.storage.replica_region:
            replicate(self, config, caller.account_id, storage.bucket, tags, keys)
        registry = Registry(self, config, keys.arn)
        keep = (stream.resource, storage.bucket, *storage.queues)
        protect((*keep, tables.leases, registry.repository, *keys.made), protected=protected)
        balancer = Balancer(self, config, network) if config.service.balancer else None
        service = Service(self, config, caller.account_id, network, stream, storage, tables, registry, balancer, keys)
        Autoscaling(self, config, service)
        failures = TaskFailures(self, config, service, keys.arn)
        topic = AlarmTopic(self, config, caller.account_id)
        bus = EventBus(self, config, caller.account_id, topic.key) if config.events.bus else None
        undelivered = bus.dead_letters if bus else {}
        Observability(self, config, topic, storage, tables, service, failures, undelivered)
        if config.alarms.budget:
            limit(self, config, topic)
        for name, value in {
            **({"LoadBalancerURL": balancer.url} if balancer else {}),
            "S3BucketName": storage.bucket.bucket,
            "SQSQueueURL": storage.results.url,
            "EventsQueueURL": storage.events.url,
            **({"EventBusName": bus.name} if bus else {}),
            "QuarantineQueueURL": storage.quarantine.url,
            "KinesisStreamName": stream.name,
            "RepositoryURL": registry.repository.repository_url,
            "ClusterName": service.cluster.name,
            "ServiceName": service.service.name,
            "AlarmTopicArn": topic.arn,
            "LogGroupName": service.log_group,
            "FailuresLogGroupName": failures.log_group,
            "SourcesPath": sources_path(config),
            **({"SourceDefaults": Fn.jsonencode(defaults)} if (defaults := source_defaults(config)) else {}),
            "Region": config.region,
        }.items():
            TerraformOutput(self, name, value=value, description=describe(name))
        access_policies(self, config, caller.account_id, keys)
