"""Calls that the worker's role must allow, and calls that it must deny.

Each call is real. Only its permission counts, so most calls name resources that do not exist.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from local.processes import Aws

DENIALS = {"AccessDenied", "AccessDeniedException", "403"}


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a service."""

    service: str
    what: str
    make: Callable[[Any], Any]

    @property
    def name(self) -> str:
        return f"{self.service}: {self.what}"


def allowed(aws: Aws, region: str, credentials: dict[str, str], call: Call) -> bool:
    """Whether IAM allows these credentials a call; any other error comes after IAM's check."""
    given = {name.lower(): value for name, value in credentials.items()}
    config = Config(retries={"total_max_attempts": 1})
    made = boto3.client(call.service, endpoint_url=aws.url, region_name=region, config=config, **given)
    try:
        call.make(made)
    except ClientError as error:
        return error.response["Error"]["Code"] not in DENIALS
    return True


def entry(bus: str, **changed: str) -> dict[str, str]:
    """An event for a bus, as the worker puts it."""
    return {"EventBusName": bus, "Source": "cv2kinesis", "DetailType": "event start", "Detail": "{}"} | changed


def allowed_to_the_worker(outputs: dict[str, str]) -> list[Call]:
    """The calls of the worker and its daemon."""
    stream, table = outputs["KinesisStreamName"], outputs["KinesisStreamName"]
    path, state = f"/{stream}/sources", "state/x/door.json"
    key = {"leaseKey": {"S": "none"}}
    shard = "shardId-000000000000"

    def read(kinesis: Any) -> None:
        iterator = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard, ShardIteratorType="LATEST")
        kinesis.get_records(ShardIterator=iterator["ShardIterator"])

    return [
        Call("kinesis", "read the stream", read),
        Call("kinesis", "list its shards", lambda c: c.list_shards(StreamName=stream)),
        Call("kinesis", "describe it", lambda c: c.describe_stream_summary(StreamName=stream)),
        Call("dynamodb", "describe the table", lambda c: c.describe_table(TableName=table)),
        Call("dynamodb", "get a lease", lambda c: c.get_item(TableName=table, Key=key)),
        Call("dynamodb", "put a lease", lambda c: c.put_item(TableName=table, Item=key)),
        Call("dynamodb", "delete a lease", lambda c: c.delete_item(TableName=table, Key=key)),
        Call("dynamodb", "scan leases", lambda c: c.scan(TableName=table)),
        Call(
            "dynamodb",
            "give a lease away",
            lambda c: c.update_item(
                TableName=table,
                Key=key,
                UpdateExpression="REMOVE checkpointOwner",
                ConditionExpression="attribute_exists(leaseKey)",
            ),
        ),
        Call(
            "dynamodb",
            "say that it leaves",
            lambda c: c.update_item(
                TableName=f"{table}-WorkerMetricStats",
                Key={"wid": {"S": "none"}},
                UpdateExpression="REMOVE leaving",
                ConditionExpression="attribute_exists(wid)",
            ),
        ),
        Call(
            "dynamodb",
            "free a dead leader's lock",
            lambda c: c.delete_item(TableName=f"{table}-CoordinatorState", Key={"key": {"S": "none"}}),
        ),
        Call("dynamodb", "scan reports", lambda c: c.scan(TableName=f"{table}-WorkerMetricStats")),
        Call("dynamodb", "scan the coordinator's", lambda c: c.scan(TableName=f"{table}-CoordinatorState")),
        Call(
            "dynamodb",
            "query leases by owner",
            lambda c: c.query(
                TableName=table,
                IndexName="LeaseOwnerToLeaseKeyIndex",
                KeyConditionExpression="leaseOwner = :o",
                ExpressionAttributeValues={":o": {"S": "nobody"}},
            ),
        ),
        Call("s3", "store a frame", lambda c: c.put_object(Bucket=outputs["S3BucketName"], Key="frames/x", Body=b"")),
        Call(
            "s3",
            "store a bad record",
            lambda c: c.put_object(Bucket=outputs["S3BucketName"], Key="quarantine/x", Body=b""),
        ),
        Call("s3", "store an event", lambda c: c.put_object(Bucket=outputs["S3BucketName"], Key="events/x", Body=b"")),
        Call(
            "s3",
            "store a frame for a day",
            lambda c: c.put_object(Bucket=outputs["S3BucketName"], Key="frames/x", Body=b"", Tagging="keep-days=1"),
        ),
        Call("s3", "look for a frame", lambda c: c.get_object_tagging(Bucket=outputs["S3BucketName"], Key="frames/x")),
        Call("s3", "remember", lambda c: c.put_object(Bucket=outputs["S3BucketName"], Key=state, Body=b"")),
        Call("s3", "know again", lambda c: c.get_object(Bucket=outputs["S3BucketName"], Key=state)),
        Call("ssm", "read settings of sources", lambda c: c.get_parameters_by_path(Path=path)),
        Call(
            "s3",
            "store a long message",
            lambda c: c.put_object(Bucket=outputs["S3BucketName"], Key="frames/x.json", Body=b""),
        ),
        Call(
            "sqs",
            "look at the queue of results",
            lambda c: c.get_queue_attributes(QueueUrl=outputs["SQSQueueURL"], AttributeNames=["All"]),
        ),
        Call("sqs", "announce an event", lambda c: c.send_message(QueueUrl=outputs["EventsQueueURL"], MessageBody="x")),
        Call("events", "tell the bus", lambda c: c.put_events(Entries=[entry(outputs["EventBusName"])])),
        Call("sqs", "announce a result", lambda c: c.send_message(QueueUrl=outputs["SQSQueueURL"], MessageBody="x")),
        Call(
            "sqs",
            "announce a bad record",
            lambda c: c.send_message(QueueUrl=outputs["QuarantineQueueURL"], MessageBody="x"),
        ),
    ]


def forbidden_to_the_worker(outputs: dict[str, str]) -> list[Call]:
    """Calls that a hijacked worker might try."""
    stream, bucket, queue = outputs["KinesisStreamName"], outputs["S3BucketName"], outputs["SQSQueueURL"]
    bus = outputs["EventBusName"]
    other_queue = queue.rpartition("/")[0] + "/other"
    parameter = f"/cv2kinesis{stream.removeprefix('cv2kinesis')}/SQS_QUEUE_URL"
    return [
        Call("kinesis", "delete the stream", lambda c: c.delete_stream(StreamName=f"{stream}-other")),
        Call("kinesis", "write frames", lambda c: c.put_record(StreamName=stream, Data=b"x", PartitionKey="x")),
        Call("kinesis", "read another stream", lambda c: c.list_shards(StreamName="other")),
        Call("kinesis", "list streams", lambda c: c.list_streams()),
        Call("dynamodb", "read another table", lambda c: c.scan(TableName="other")),
        Call("dynamodb", "delete a table", lambda c: c.delete_table(TableName="other")),
        Call("s3", "write to another bucket", lambda c: c.put_object(Bucket="other", Key="frames/x", Body=b"")),
        Call("s3", "write elsewhere in the bucket", lambda c: c.put_object(Bucket=bucket, Key="other/x", Body=b"")),
        Call("s3", "read a frame", lambda c: c.get_object(Bucket=bucket, Key="frames/x")),
        Call("s3", "read an event", lambda c: c.get_object(Bucket=bucket, Key="events/x")),
        Call("s3", "delete a frame", lambda c: c.delete_object(Bucket=bucket, Key="frames/none")),
        Call("s3", "list the bucket", lambda c: c.list_objects_v2(Bucket=bucket)),
        Call("sqs", "write to another queue", lambda c: c.send_message(QueueUrl=other_queue, MessageBody="x")),
        Call("sqs", "read results", lambda c: c.receive_message(QueueUrl=queue, VisibilityTimeout=0)),
        Call(
            "sqs", "read events", lambda c: c.receive_message(QueueUrl=outputs["EventsQueueURL"], VisibilityTimeout=0)
        ),
        Call("events", "pose as another source", lambda c: c.put_events(Entries=[entry(bus, Source="others")])),
        Call("events", "tell another bus", lambda c: c.put_events(Entries=[entry("default")])),
        Call("events", "list rules", lambda c: c.list_rules(EventBusName=bus)),
        Call("sqs", "purge a queue", lambda c: c.purge_queue(QueueUrl=other_queue)),
        Call("ssm", "read other parameters", lambda c: c.get_parameter(Name="/other/SECRET")),
        Call("ssm", "read all parameters", lambda c: c.get_parameters_by_path(Path="/")),
        Call("ssm", "read its own parameters", lambda c: c.get_parameter(Name=parameter)),
        # Its metrics are lines of its log.
        Call(
            "cloudwatch",
            "write metrics",
            lambda c: c.put_metric_data(Namespace=stream, MetricData=[{"MetricName": "x", "Value": 1}]),
        ),
        Call("iam", "read roles", lambda c: c.list_roles()),
        Call("ecs", "list clusters", lambda c: c.list_clusters()),
    ]
