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
from stacks.policies import Statement, allow, document

# What each encrypts for or reads from.
SERVICES: Final = {"Producer": ("kinesis",), "Consumer": ("s3", "sqs"), "Quarantine": ("kinesis", "s3", "sqs")}


def access_policies(stack: TerraformStack, config: Config, account: str, keys: Keys) -> None:
    """Makes the outputs ProducerPolicy, ConsumerPolicy and QuarantinePolicy."""
    for name, statements in statements_of(config, account).items():
        statements += keys.use("UseKey", SERVICES[name])
        policy = document(stack, f"access-{name.lower()}", statements)
        output = f"{name}{POLICY}"
        TerraformOutput(stack, output, value=policy.minified_json, description=describe(output))


def statements_of(config: Config, account: str) -> dict[str, list[Statement]]:
    """The policies' statements by who uses them."""
    names = Names(config)
    stream = names.arn(account, "kinesis", f"stream/{names.stream}")
    results, quarantine = (names.arn(account, "sqs", queue) for queue in (names.results, names.quarantine))
    bucket = f"arn:aws:s3:::{names.bucket(account)}"
    take = ["sqs:ReceiveMessage", "sqs:DeleteMessage"]
    return {
        "Producer": [
            # It spreads what it sends by the shards' limits.
            allow("FindShards", ["kinesis:DescribeStreamSummary", "kinesis:ListShards"], [stream]),
            allow("Send", ["kinesis:PutRecord", "kinesis:PutRecords"], [stream]),
            # Its first word wakes a pipeline that sleeps. A condition limits the namespace, as nothing else can be.
            allow("Knock", ["cloudwatch:PutMetricData"], ["*"], cloudwatch__namespace=PRODUCERS),
        ],
        "Consumer": [
            allow("TakeResults", take, [results]),
            # Messages that were too long for the queue lie beside their frames.
            allow("ReadFrames", ["s3:GetObject"], [f"{bucket}/frames/*"]),
            # The page shows how many there are.
            allow("CountQuarantine", ["sqs:GetQueueAttributes"], [quarantine]),
        ],
        "Quarantine": [
            allow("TakeNotices", [*take, "sqs:ChangeMessageVisibility"], [quarantine]),
            # A record that goes back to its stream is put aside before.
            allow(
                "MoveRecords",
                ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
                [f"{bucket}/{prefix}/*" for prefix in ("quarantine", "redriven")],
            ),
            allow("Redrive", ["kinesis:PutRecord"], [stream]),
        ],
    }
