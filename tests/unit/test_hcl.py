"""HCL for people: what CDKTF's writer quotes or puts into one line."""

from __future__ import annotations

from stacks.hcl import mend

WRITTEN = """terraform {
required_providers {
  aws = {
version = "5.100.0"
source = "aws"
}
}

}

resource "aws_sqs_queue" "results" {
name = "${aws_kinesis_stream.stream.name}"
label = "${aws_kinesis_stream.stream.name}-results"
depends_on = [
"aws_vpc.vpc",
]
policy = "${jsonencode({"rule-1" = [{"text" = "a, b = {c} \\"d\\" ${x.y}", \
"many" = ["aaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbb", f("a", "b")]}], "n" = 1})}"
}
output "Name" {
description = "what depends_on = [ means"
}
"""


def test_what_it_makes_of_cdktfs() -> None:
    assert (
        mend(WRITTEN)
        == """terraform {
required_providers {
  aws = {
version = "5.100.0"
source = "hashicorp/aws"
}
}
}

resource "aws_sqs_queue" "results" {
name = aws_kinesis_stream.stream.name
label = "${aws_kinesis_stream.stream.name}-results"
depends_on = [
aws_vpc.vpc,
]
policy = jsonencode({
  "rule-1" = [
    {
      text = "a, b = {c} \\"d\\" ${x.y}"
      many = ["aaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbb", f("a", "b")]
    },
  ]
  n = 1
})
}

output "Name" {
description = "what depends_on = [ means"
}
"""
    )


def test_it_leaves_its_own_work_alone() -> None:
    assert mend(mend(WRITTEN)) == mend(WRITTEN)
