"""What producers and consumers may do: policies ready to be given to their users and roles.

They are outputs and no resources: who uses them, the operator decides, with `make -s policy NAME=Producer`.
Each allows what the CLI of its name calls, and a test runs the CLIs with nothing else.
"""

from __future__ import annotations

from typing import Final

from cdktf import TerraformOutput, TerraformStack

from contract.metrics import PRODUCERS
from stacks.config import Config
from stacks.keys import Keys
from stacks.names import Names
from stacks.outputs import POLICY, describe
from stacks.policies import Statement, allow, condition, document
from stacks.sources import sources_path

# What each encrypts for or reads from.
SERVICES: Final = {
    "Producer": ("kinesis",),
    "Consumer": ("s3", "sqs"),
    "Clip": ("kinesis",),
    "Configure": (),
    "Quarantine": ("kinesis", "s3", "sqs"),
}
# What consumers read of the bucket, and where records in quarantine lie.
READ: Final = ("events", "frames")
QUARANTINE: Final = ("quarantine", "redriven")
READ_SETTINGS: Final = ("ssm:GetParameter", "ssm:GetParametersByPath")


def access_policies(stack: TerraformStack, config: Config, account: str, keys: Keys) -> None:
    """Makes the outputs ProducerPolicy, ConsumerPolicy, ClipPolicy, ConfigurePolicy and QuarantinePolicy."""
    for name, statements in statements_of(config, account).items():
        if services := SERVICES[name]:
            statements += keys.use("UseKey", services)
        policy = document(stack, f"access-{name.lower()}", statements)
        output = f"{name}{POLICY}"
        TerraformOutput(stack, output, value=policy.minified_json, description=describe(output))


def statements_of(config: Config, account: str) -> dict[str, list[Statement]]:
    """The policies' statements by who uses them."""
    names = Names(config)
    stream = names.arn(account, "kinesis", f"stream/{names.stream}")
    results, events, quarantine = (
        names.arn(account, "sqs", queue) for queue in (names.results, names.events, names.quarantine)
    )
    sources = names.arn(account, "ssm", f"parameter{sources_path(config)}")
    bucket = f"arn:aws:s3:::{names.bucket(account)}"
    take = ["sqs:ReceiveMessage", "sqs:DeleteMessage"]

    def find(sid: str, prefixes: tuple[str, ...]) -> Statement:
        limit = condition("StringLike", "s3:prefix", [f"{prefix}/*" for prefix in prefixes])
        return Statement(sid=sid, actions=["s3:ListBucket"], resources=[bucket], condition=[limit])

    return {
        "Producer": [
            # It spreads what it sends by the shards' limits.
            allow("FindShards", ["kinesis:DescribeStreamSummary", "kinesis:ListShards"], [stream]),
            allow("Send", ["kinesis:PutRecord", "kinesis:PutRecords"], [stream]),
            # Its first word wakes a pipeline that sleeps. A condition limits the namespace, as nothing else can be.
            allow("Knock", ["cloudwatch:PutMetricData"], ["*"], cloudwatch__namespace=PRODUCERS),
        ],
        "Consumer": [
            allow("TakeResults", take, [results, events]),
            # Messages that were too long for the queue lie beside their frames.
            allow("ReadFrames", ["s3:GetObject"], [f"{bucket}/{prefix}/*" for prefix in READ]),
            # The page knows events from their index, and an event's frames from their hour; what is gone is not listed.
            find("FindFrames", READ),
            # The page shows how many there are.
            allow("CountQuarantine", ["sqs:GetQueueAttributes"], [quarantine]),
        ],
        "Clip": [
            allow("ReadStream", ["kinesis:ListShards", "kinesis:GetShardIterator", "kinesis:GetRecords"], [stream]),
            # Frames on the stream are as the camera sent them: what a source hides, the settings say.
            allow("ReadSettings", READ_SETTINGS, [sources, f"{sources}/*"]),
        ],
        "Configure": [
            allow("ReadSettings", READ_SETTINGS, [sources, f"{sources}/*"]),
            allow("WriteSettings", ["ssm:PutParameter"], [f"{sources}/*"]),
        ],
        "Quarantine": [
            allow("TakeNotices", [*take, "sqs:ChangeMessageVisibility"], [quarantine]),
            # A record that goes back to its stream is put aside before, with the tag that says how long it is kept.
            allow(
                "MoveRecords",
                [
                    *("s3:GetObject", "s3:PutObject", "s3:DeleteObject"),
                    *("s3:GetObjectTagging", "s3:PutObjectTagging"),
                ],
                [f"{bucket}/{prefix}/*" for prefix in QUARANTINE],
            ),
            # Without it, S3 says of a record that has expired that it is forbidden.
            find("FindRecords", QUARANTINE),
            allow("Redrive", ["kinesis:PutRecord"], [stream]),
        ],
    }
