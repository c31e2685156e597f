"""What an AWS error means to the caller: one classification for all packages.

| kind | what it means | what helps |
| --- | --- | --- |
| PASSING | a service or the network fails, or the service throttles the caller | another attempt |
| EXPIRED | a token has expired, or a clock is wrong | fresh credentials, a correct clock |
| CREDENTIALS | there are no credentials, or AWS does not know them | other credentials |
| FORBIDDEN | AWS knows the caller but does not allow the call, or a KMS key is disabled | a permission |
| MISSING | the stream, bucket, queue, table or object does not exist | another name, a deployment |
| WRONG | the service does not accept such a request | a change of the code or its input |

Codes come from each service's reference, "Errors" or "Common Errors". The answer's HTTP status classifies a code that
is not listed: a server error is PASSING, a client error is WRONG.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, Final

from botocore import exceptions as sdk
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

ERRORS: Final = (ClientError, BotoCoreError, ResponseParserError)
"""What a call of an SDK's client can raise."""
STRANGE: Final = (AttributeError, KeyError, TypeError, RecursionError)
"""What the SDK and whoever reads its answer raise where somebody else than AWS answers."""


class Kind(Enum):
    """What an error means; the values are texts for people."""

    PASSING = "passing"
    EXPIRED = "expired credentials or a clock that is off"
    CREDENTIALS = "no valid credentials"
    FORBIDDEN = "forbidden"
    MISSING = "missing"
    WRONG = "wrong request"


class UnusableCredentialsError(BotoCoreError):  # type: ignore[misc]
    """The SDK's settings name credentials that it cannot get or send. `text` is one line."""

    fmt = "{text}"


class ExpiredCredentialsError(UnusableCredentialsError):
    """Where credentials come from gives only expired ones."""


_CODES: Final = {
    Kind.PASSING: (
        # Codes of any service.
        "InternalError", "InternalFailure", "InternalServerError", "InternalServerErrorException",
        "LimitExceededException", "RequestLimitExceeded", "RequestThrottled", "RequestThrottledException",
        "RequestTimeout", "RequestTimeoutException", "ServerException", "ServiceException", "ServiceUnavailable",
        "ServiceUnavailableException", "Throttled", "ThrottledException", "Throttling", "ThrottlingException",
        "TooManyRequestsException", "IDPCommunicationError",
        # Codes of Kinesis, DynamoDB, SQS, S3, Parameter Store, and of KMS behind them.
        "ExpiredIteratorException", "ExpiredNextTokenException", "KMSThrottlingException", "ResourceInUseException",
        "ConditionalCheckFailedException", "PriorRequestNotComplete", "ProvisionedThroughputExceededException",
        "TransactionInProgressException", "KmsThrottled", "OverLimit", "PurgeQueueInProgress",
        "AWS.SimpleQueueService.PurgeQueueInProgress", "QueueDeletedRecently",
        "AWS.SimpleQueueService.QueueDeletedRecently", "BandwidthLimitExceeded", "OperationAborted", "SlowDown",
        "TooManyUpdates",
    ),
    Kind.EXPIRED: (
        "ExpiredToken", "ExpiredTokenException", "RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed",
        "TokenRefreshRequired",
    ),
    Kind.CREDENTIALS: (
        "AuthFailure", "IncompleteSignature", "IncompleteSignatureException", "InvalidAccessKeyId",
        "InvalidClientTokenId", "InvalidSignature", "InvalidSignatureException", "InvalidToken",
        "MissingAuthenticationToken", "MissingAuthenticationTokenException", "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    ),
    Kind.FORBIDDEN: (
        "403", "AccessDenied", "AccessDeniedException", "AccountProblem", "AllAccessDisabled", "AuthorizationError",
        "AuthorizationErrorException", "Forbidden", "InvalidSecurity", "NotAuthorized", "NotSignedUp",
        "OptInRequired", "UnauthorizedAccess", "UnauthorizedOperation",
        # Kinesis, SQS and S3 report so a KMS key that is disabled, about to be deleted or not usable by the caller.
        "KMSAccessDeniedException", "KMSDisabledException", "KMSInvalidStateException", "KMSOptInRequired",
        "KmsAccessDenied", "KmsDisabled", "KmsInvalidState", "KmsOptInRequired", "KMS.AccessDeniedException",
        "KMS.DisabledException", "KMS.InvalidStateException", "KMS.KMSInvalidStateException",
        "KMS.OptInRequired",
    ),
    Kind.MISSING: (
        "404", "AWS.SimpleQueueService.NonExistentQueue", "ClusterNotFoundException", "KMS.NotFoundException",
        "KMSNotFoundException", "KmsNotFound", "NoSuchBucket", "NoSuchKey", "NoSuchUpload", "NotFound",
        "NotFoundException", "ParameterNotFound", "QueueDoesNotExist", "RepositoryNotFoundException",
        "ResourceNotFound", "ResourceNotFoundException", "ServiceNotFoundException", "TableNotFoundException",
    ),
    Kind.WRONG: (
        "AWS.SimpleQueueService.BatchRequestTooLong", "AWS.SimpleQueueService.UnsupportedOperation",
        "BatchRequestTooLong", "EntityTooLarge", "InvalidAction", "InvalidArgument", "InvalidArgumentException",
        "InvalidAttributeValue", "InvalidMessageContents", "InvalidParameterCombination", "InvalidParameterValue",
        "InvalidRequest", "KmsInvalidKeyUsage", "MalformedQueryString", "MissingAction", "MissingParameter",
        "UnsupportedOperation", "ValidationError", "ValidationException",
    ),
}  # fmt: skip
_KINDS: Final = {code: kind for kind, codes in _CODES.items() for code in codes}

# Statuses below 500 that mean that the service may accept the same request later.
_PASSING_STATUSES: Final = frozenset({408, 409, 423, 425, 429})

_NO_CREDENTIALS: Final = (
    sdk.NoCredentialsError, sdk.NoAuthTokenError, sdk.PartialCredentialsError, sdk.ProfileNotFound,
    sdk.SSOTokenLoadError, UnusableCredentialsError,
)  # fmt: skip
_EXPIRED: Final = (
    sdk.TokenRetrievalError, sdk.UnauthorizedSSOTokenError, sdk.SSOError, ExpiredCredentialsError,
)  # fmt: skip
# What may be secret in an error's text, and what to say instead: who an address is for, and what cannot be sent.
_SECRETS: Final = (
    (re.compile(r"://[^\s\"'<>]*@"), "://…@"),
    (re.compile(r"(Invalid header value|Failed to parse)\b.*"), r"\1"),
)
# Codes for which another clock helps, and not another token.
_OF_TOKENS: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
# Failures of the connection, not of the request.
_ON_THE_WAY: Final = (
    sdk.HTTPClientError, sdk.ConnectionError, sdk.IncompleteReadError, sdk.ChecksumError, sdk.FlexibleChecksumError,
    sdk.CredentialRetrievalError, sdk.MetadataRetrievalError,
)  # fmt: skip


def classify(error: Exception) -> Kind:
    """Classifies an error that is one of `ERRORS`."""
    if isinstance(error, ClientError):
        return _classify_answer(error)
    if isinstance(error, _NO_CREDENTIALS) and not isinstance(error, ExpiredCredentialsError):
        return Kind.CREDENTIALS
    if isinstance(error, _EXPIRED):
        return Kind.EXPIRED
    if isinstance(error, (*_ON_THE_WAY, ResponseParserError)):
        return Kind.PASSING
    return Kind.WRONG


def may_pass(error: Exception) -> bool:
    """Whether whoever has a role, which renews its credentials by itself, can wait an error out."""
    return classify(error) in (Kind.PASSING, Kind.EXPIRED)


def may_have_arrived(error: Exception) -> bool:
    """Whether the service may have done what a request asked that failed: no answer came, or of a fault in it."""
    if isinstance(error, ClientError):
        return _status(error) >= 500
    return isinstance(error, (sdk.HTTPClientError, sdk.IncompleteReadError, ResponseParserError))


def _status(error: ClientError) -> int:
    """The answer's HTTP status; that of a fault where there is none."""
    status: int = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    return status


def _classify_answer(error: ClientError) -> Kind:
    kind = _KINDS.get(code_of(error))
    if kind is Kind.CREDENTIALS and _blames_time(error):
        return Kind.EXPIRED
    if kind is not None:
        return kind
    status = _status(error)
    if status == 403:
        return Kind.FORBIDDEN
    if status == 404:
        return Kind.MISSING
    return Kind.WRONG if 400 <= status < 500 and status not in _PASSING_STATUSES else Kind.PASSING


def _blames_time(error: ClientError) -> bool:
    """Tells a wrong clock from a wrong key, which have the same code, by the message: `Signature expired: … is now
    earlier than …`, `Signature not yet current: …`."""
    text = _details(error).get("Message", "")
    return "expired" in text or "not yet current" in text


def blames_token(error: ClientError) -> bool:
    """Whether a service calls a token expired, rather than a signature's time."""
    return code_of(error) in _OF_TOKENS


def code_of(error: Exception) -> str:
    """The service's name for an error, or the exception's own."""
    if isinstance(error, ClientError):
        return str(_details(error).get("Code", "Unknown"))
    return type(error).__name__


def describe(error: Exception) -> str:
    """An error in one line: its code and the service's message."""
    text = line(error)
    return f"{code_of(error)}: {text}" if text else code_of(error)


def line(error: Exception) -> str:
    """What an error says, in one line, without what may be secret in it.

    Of what a service answers only the first line: others hold what it received, signature and token among it.
    """
    if isinstance(error, OSError) and error.strerror:
        program, *arguments = str(error.filename or "").split() or [""]
        name = f": {program + ' …' * bool(arguments)!r}" if program else ""
        return f"{error.strerror}{name}"
    text = str(_details(error).get("Message", "")) if isinstance(error, ClientError) else str(error)
    lines = [" ".join(part.split()) for part in text.splitlines() if part.strip()]
    text = " ".join(lines[:1] if isinstance(error, ClientError | ResponseParserError) else lines)
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def lack_of_credentials(error: Exception) -> str | None:
    """What to tell whoever has none that can be sent; None for any other error, and for what a service says of them."""
    if isinstance(error, sdk.NoCredentialsError):
        return "no AWS credentials are found"
    if isinstance(error, ClientError) or classify(error) is not Kind.CREDENTIALS:
        return None
    return f"no AWS credentials that can be used: {line(error)}"


def _details(error: ClientError) -> dict[str, Any]:
    details: dict[str, Any] = error.response.get("Error", {})
    return details
