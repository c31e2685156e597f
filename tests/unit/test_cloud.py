"""Calls to AWS: the kinds of errors, the endpoints of services, the waits of retries."""

from __future__ import annotations

import random

import boto3
import pytest
from botocore import exceptions as sdk
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from hypothesis import given
from hypothesis import strategies as st

from cloud.clients import client
from cloud.endpoints import endpoint_url, for_java
from cloud.errors import ERRORS, Kind, classify, code_of, describe
from cloud.retry import full_jitter
from cloud.shards import Shard, kin
from cloud.unusable import UnusableSettingsError


def answer(code: str, message: str = "", status: int | None = 400) -> ClientError:
    """The SDK's error for a service's refusal."""
    metadata = {} if status is None else {"HTTPStatusCode": status}
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}, "Any")


# The codes in each service's reference.
SERVICES = {
    "kinesis": {
        Kind.PASSING: ["ProvisionedThroughputExceededException", "KMSThrottlingException", "LimitExceededException",
                       "ExpiredIteratorException", "ResourceInUseException"],
        Kind.FORBIDDEN: ["AccessDeniedException", "KMSAccessDeniedException", "KMSDisabledException",
                         "KMSInvalidStateException", "KMSOptInRequired"],
        Kind.MISSING: ["ResourceNotFoundException", "KMSNotFoundException"],
        Kind.WRONG: ["InvalidArgumentException", "ValidationException"],
        Kind.EXPIRED: ["ExpiredTokenException"],
        Kind.CREDENTIALS: ["UnrecognizedClientException", "InvalidSignatureException", "IncompleteSignature"],
    },
    "dynamodb": {
        Kind.PASSING: ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded",
                       "TransactionInProgressException", "InternalServerError", "ConditionalCheckFailedException"],
        Kind.FORBIDDEN: ["AccessDeniedException"],
        Kind.MISSING: ["ResourceNotFoundException", "TableNotFoundException"],
        Kind.WRONG: ["ValidationException"],
    },
    "s3": {
        Kind.PASSING: ["SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "OperationAborted"],
        Kind.FORBIDDEN: ["AccessDenied", "AllAccessDisabled", "AccountProblem", "KMS.DisabledException",
                         "KMS.KMSInvalidStateException", "403"],
        Kind.MISSING: ["NoSuchBucket", "NoSuchKey", "KMS.NotFoundException", "404"],
        Kind.WRONG: ["EntityTooLarge", "InvalidArgument", "InvalidRequest"],
        Kind.EXPIRED: ["ExpiredToken", "RequestTimeTooSkewed"],
        Kind.CREDENTIALS: ["InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"],
    },
    "sqs": {
        Kind.PASSING: ["RequestThrottled", "OverLimit", "AWS.SimpleQueueService.QueueDeletedRecently", "KmsThrottled"],
        Kind.FORBIDDEN: ["AccessDenied", "KmsAccessDenied", "KmsDisabled", "KmsInvalidState", "KmsOptInRequired"],
        Kind.MISSING: ["AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "KmsNotFound"],
        Kind.WRONG: ["MissingParameter", "AWS.SimpleQueueService.BatchRequestTooLong", "InvalidMessageContents",
                     "AWS.SimpleQueueService.UnsupportedOperation", "KmsInvalidKeyUsage"],
        Kind.EXPIRED: ["ExpiredToken"],
        Kind.CREDENTIALS: ["InvalidClientTokenId", "SignatureDoesNotMatch"],
    },
    "ssm": {
        Kind.PASSING: ["ThrottlingException", "TooManyUpdates", "InternalServerError"],
        Kind.FORBIDDEN: ["AccessDeniedException"],
        Kind.MISSING: ["ParameterNotFound"],
        Kind.WRONG: ["ValidationException"],
    },
    "ecs": {
        Kind.PASSING: ["ServerException"],
        Kind.FORBIDDEN: ["AccessDeniedException"],
        Kind.MISSING: ["ClusterNotFoundException", "ServiceNotFoundException"],
    },
}  # fmt: skip


@pytest.mark.parametrize("service", SERVICES)
def test_codes_of_a_service(service: str) -> None:
    for kind, codes in SERVICES[service].items():
        for code in codes:
            assert classify(answer(code)) is kind, code


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, Kind.WRONG), (403, Kind.FORBIDDEN), (404, Kind.MISSING), (408, Kind.PASSING), (409, Kind.PASSING),
     (429, Kind.PASSING), (500, Kind.PASSING), (503, Kind.PASSING), (None, Kind.PASSING)],
)  # fmt: skip
def test_an_unknown_code_goes_by_its_status(status: int | None, kind: Kind) -> None:
    assert classify(answer("SomethingNew", status=status)) is kind


def test_a_clock_that_is_off_is_told_from_a_wrong_key() -> None:
    late = "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z"
    early = "Signature not yet current: 20260101T002000Z is still later than 20260101T001500Z"
    for code in ("InvalidSignatureException", "SignatureDoesNotMatch"):
        assert classify(answer(code, late)) is Kind.EXPIRED
        assert classify(answer(code, early)) is Kind.EXPIRED
        assert classify(answer(code, "The request signature we calculated does not match")) is Kind.CREDENTIALS


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (sdk.EndpointConnectionError(endpoint_url="http://x"), Kind.PASSING),
        (sdk.ConnectTimeoutError(endpoint_url="http://x"), Kind.PASSING),
        (sdk.ReadTimeoutError(endpoint_url="http://x"), Kind.PASSING),
        (sdk.ConnectionClosedError(endpoint_url="http://x"), Kind.PASSING),
        (sdk.ProxyConnectionError(proxy_url="http://x"), Kind.PASSING),
        (sdk.ResponseStreamingError(error="cut"), Kind.PASSING),
        (sdk.IncompleteReadError(actual_bytes=1, expected_bytes=2), Kind.PASSING),
        (sdk.CredentialRetrievalError(provider="container", error_msg="away"), Kind.PASSING),
        (ResponseParserError("an HTML page of a proxy"), Kind.PASSING),
        (sdk.NoCredentialsError(), Kind.CREDENTIALS),
        (sdk.PartialCredentialsError(provider="env", cred_var="secret"), Kind.CREDENTIALS),
        (sdk.ProfileNotFound(profile="x"), Kind.CREDENTIALS),
        (sdk.UnauthorizedSSOTokenError(), Kind.EXPIRED),
        (sdk.ParamValidationError(report="no"), Kind.WRONG),
        (sdk.NoRegionError(), Kind.WRONG),
    ],
)
def test_errors_of_the_sdk_itself(error: Exception, kind: Kind) -> None:
    assert isinstance(error, ERRORS)
    assert classify(error) is kind


def test_an_error_is_one_line() -> None:
    assert describe(answer("Throttled", "slow\ndown")) == "Throttled: slow"
    assert describe(answer("Throttled")) == "Throttled"
    assert code_of(sdk.NoCredentialsError()) == "NoCredentialsError"
    assert describe(sdk.NoCredentialsError()) == "NoCredentialsError: Unable to locate credentials"


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_KINESIS": "http://127.0.0.1:2"},
        {"AWS_ENDPOINT_URL_KINESIS": "http://127.0.0.1:2", "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:3"},
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
        {"AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:3", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "TRUE"},
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false"},
        {"AWS_ENDPOINT_URL": ""},
    ],
)
def test_endpoints_are_those_of_the_sdk(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("", "_KINESIS", "_SQS"):
        monkeypatch.delenv(f"AWS_ENDPOINT_URL{name}", raising=False)
    monkeypatch.delenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for service in ("kinesis", "sqs"):
        theirs = boto3.session.Session().client(service, region_name="eu-central-1").meta.endpoint_url
        ours = endpoint_url(service)
        assert theirs == ours if ours else theirs.endswith(".amazonaws.com"), service
        assert client(service, "eu-central-1").meta.endpoint_url == theirs


@pytest.mark.parametrize(
    ("variables", "kept"),
    [
        ({"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1"}, {"AWS_ENDPOINT_URL_STS"}),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_KINESIS": ""}, {"AWS_ENDPOINT_URL"}),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false"}, None),
        ({"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "True"}, set()),
    ],
)
def test_java_sees_the_endpoints_that_count(variables: dict[str, str], kept: set[str] | None) -> None:
    environment = for_java({"PATH": "/bin"} | variables)
    assert environment["PATH"] == "/bin"
    kept = {"AWS_ENDPOINT_URL"} if kept is None else kept
    assert {name for name in environment if name.startswith("AWS_ENDPOINT_URL")} == kept


def test_a_client_names_us_and_tries_once() -> None:
    made = client("s3", "eu-central-1")
    assert made.meta.config.user_agent.startswith("cv2kinesis/")
    assert made.meta.config.retries["total_max_attempts"] == 1


@given(attempt=st.integers(1, 10_000), base=st.floats(0.01, 1), cap=st.floats(1, 60), seed=st.integers())
def test_jitter_is_full_and_bounded(attempt: int, base: float, cap: float, seed: int) -> None:
    random.seed(seed)
    waits = [full_jitter(attempt, base, cap) for _ in range(20)]
    limit = min(cap, base * 2.0 ** min(attempt, 64))
    assert all(0 <= wait <= limit for wait in waits)
    assert max(waits) > limit / 20


@pytest.mark.parametrize(
    ("variables", "arguments", "text", "credentials"),
    [
        ({"AWS_PROFILE": "nope"}, {}, "The config profile (nope) could not be found", True),
        ({}, {"endpoint_url": "foo"}, "Invalid endpoint: foo; an endpoint is http://host:port", False),
        ({}, {"region": "eu central"}, "Provided region_name 'eu central' doesn't match", False),
        ({"AWS_ENDPOINT_URL": "foo"}, {}, "Invalid endpoint: foo; an endpoint is http://host:port", False),
    ],
)
def test_settings_that_allow_no_client_are_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], arguments: dict[str, str], text: str, credentials: bool
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UnusableSettingsError) as caught:
        client("kinesis", **({"region": "eu-central-1"} | arguments))  # type: ignore[arg-type]
    assert str(caught.value).startswith(text)
    assert "\n" not in str(caught.value)
    assert caught.value.credentials == credentials


def test_the_kin_of_shards_that_were_split_and_merged() -> None:
    shards = [
        Shard("other", (), True), Shard("parent", (), False), Shard("left", ("parent",), False),
        Shard("right", ("parent",), False), Shard("merged", ("left", "right"), True),
    ]  # fmt: skip
    assert kin(shards, "left") == (("parent",), ("right",))
    assert kin(shards, "right") == (("parent",), ("left",))
    assert kin(shards, "merged") == (("left", "right"), ())
    assert kin(shards, "parent") == kin(shards, "other") == kin(shards, "gone") == ((), ())
