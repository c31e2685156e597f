"""Forms of IAM policies that several parts use."""

from __future__ import annotations

from collections.abc import Sequence

from cdktf import TerraformStack
from cdktf_cdktf_provider_aws.data_aws_iam_policy_document import (
    DataAwsIamPolicyDocument,
    DataAwsIamPolicyDocumentStatement,
    DataAwsIamPolicyDocumentStatementCondition,
    DataAwsIamPolicyDocumentStatementPrincipals,
)

Statement = DataAwsIamPolicyDocumentStatement


def allow(sid: str, actions: Sequence[str], resources: Sequence[str], **conditions: str) -> Statement:
    """Allows actions on resources; `conditions` are keys, with `__` for `:`, that must equal a value."""
    return Statement(
        sid=sid,
        actions=list(actions),
        resources=list(resources),
        condition=_equal(conditions),
    )


def document(stack: TerraformStack, id_: str, statements: Sequence[Statement]) -> DataAwsIamPolicyDocument:
    """A policy document with these statements."""
    return DataAwsIamPolicyDocument(stack, id_, statement=list(statements))


def trust(stack: TerraformStack, id_: str, service: str, **conditions: str) -> DataAwsIamPolicyDocument:
    """Lets a service take a role."""
    principal = DataAwsIamPolicyDocumentStatementPrincipals(type="Service", identifiers=[service])
    statement = Statement(actions=["sts:AssumeRole"], principals=[principal], condition=_equal(conditions))
    return DataAwsIamPolicyDocument(stack, id_, statement=[statement])


def deny_insecure(stack: TerraformStack, id_: str, actions: str, resources: Sequence[str]) -> DataAwsIamPolicyDocument:
    """Denies requests that do not come over TLS, for everybody."""
    statement = Statement(
        sid="TlsOnly",
        effect="Deny",
        actions=[actions],
        resources=list(resources),
        principals=[DataAwsIamPolicyDocumentStatementPrincipals(type="*", identifiers=["*"])],
        condition=[
            DataAwsIamPolicyDocumentStatementCondition(test="Bool", variable="aws:SecureTransport", values=["false"])
        ],
    )
    return DataAwsIamPolicyDocument(stack, id_, statement=[statement])


def _equal(conditions: dict[str, str]) -> list[DataAwsIamPolicyDocumentStatementCondition]:
    return [
        DataAwsIamPolicyDocumentStatementCondition(test="StringEquals", variable=key.replace("__", ":"), values=[value])
        for key, value in conditions.items()
    ]
