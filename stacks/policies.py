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


def allow(sid: str, actions: Sequence[str], resources: Sequence[str], **conditions: str | list[str]) -> Statement:
    """Allows actions on resources; `conditions` are keys, with `__` for `:`, that must equal a value or one of some."""
    return Statement(
        sid=sid,
        actions=list(actions),
        resources=list(resources),
        condition=[condition("StringEquals", key.replace("__", ":"), value) for key, value in conditions.items()],
    )


def condition(test: str, variable: str, values: str | list[str]) -> DataAwsIamPolicyDocumentStatementCondition:
    """A condition on one of the request's keys."""
    return DataAwsIamPolicyDocumentStatementCondition(
        test=test, variable=variable, values=[values] if isinstance(values, str) else values
    )


def document(stack: TerraformStack, id_: str, statements: Sequence[Statement]) -> DataAwsIamPolicyDocument:
    """A policy document with these statements."""
    return DataAwsIamPolicyDocument(stack, id_, statement=list(statements))


def allow_service(
    sid: str | None, service: str, actions: Sequence[str], resources: Sequence[str], account: str, source: str | None
) -> Statement:
    """Allows a service actions on behalf of this account.

    Args:
        source: A pattern of the ARNs of the resources for which the service acts; None for all of the account's.
    """
    limits = [condition("StringEquals", "aws:SourceAccount", account)]
    if source:
        limits.append(condition("ArnLike", "aws:SourceArn", source))
    return Statement(
        sid=sid,
        actions=list(actions),
        resources=list(resources) or None,
        principals=[DataAwsIamPolicyDocumentStatementPrincipals(type="Service", identifiers=[service])],
        condition=limits,
    )


def deny_insecure(
    stack: TerraformStack, id_: str, actions: str, resources: Sequence[str], others: Sequence[Statement] = ()
) -> DataAwsIamPolicyDocument:
    """Denies requests that do not come over TLS, for everybody; other statements follow."""
    statement = Statement(
        sid="TlsOnly",
        effect="Deny",
        actions=[actions],
        resources=list(resources),
        principals=[DataAwsIamPolicyDocumentStatementPrincipals(type="*", identifiers=["*"])],
        condition=[condition("Bool", "aws:SecureTransport", "false")],
    )
    return document(stack, id_, [statement, *others])
