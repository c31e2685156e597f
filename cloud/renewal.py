"""What helps when a service calls a signature or a token expired: fresh credentials, and the service's own clock.

The SDK signs with this machine's clock, whatever a service says of it, and renews credentials by that clock too. So a
client that is `renewing` makes one more attempt by itself: it reads the credentials again, wherever they come from, and
signs with the time that the refusal bears.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

import boto3
from botocore.auth import AUTH_TYPE_MAPS, SIGV4_TIMESTAMP
from botocore.exceptions import ClientError

from cloud.errors import ERRORS, Kind, classify, code_of

logger = logging.getLogger(__name__)

# Services allow five minutes and more. Below, a `Date` of whole seconds says nothing about a clock.
LEAST_SKEW: Final = timedelta(minutes=1)
_NONE: Final = timedelta()


class Clock:
    """The services' time, as far as one of them has told it. All calls of a process are signed with it.

    Attributes:
        skew: What services are ahead of this machine.
    """

    def __init__(self) -> None:
        self.skew = _NONE

    def now(self) -> datetime:
        """The services' time."""
        return datetime.now(UTC) + self.skew

    def learn(self, date: str | None) -> None:
        """Takes the time from a service's answer."""
        try:
            skew = parsedate_to_datetime(date or "") - datetime.now(UTC)
        except (TypeError, ValueError):
            return
        self.skew = skew if abs(skew) > LEAST_SKEW else _NONE
        if self.skew:
            logger.warning(
                "this machine's clock is off by %d s; calls are signed with the services'", -skew.total_seconds()
            )


clock: Final = Clock()


def _signing_by_clock(scheme: Any) -> Any:
    """A signer that takes the time from `clock`."""

    class Signer(scheme):  # type: ignore[misc]
        def _modify_request_before_signing(self, request: Any) -> None:
            # The SDK has put its own time here; all that follows, the signature too, is made of it.
            request.context["timestamp"] = clock.now().strftime(SIGV4_TIMESTAMP)
            super()._modify_request_before_signing(request)

    return Signer


# S3's scheme, and that of all other services.
for _name in ("s3v4", "v4"):
    AUTH_TYPE_MAPS[_name] = _signing_by_clock(AUTH_TYPE_MAPS[_name])


def renewing(made: Any, service: str) -> None:
    """Has a client make a second attempt where a service calls its first one expired."""

    def renew(response: Any, operation: Any, attempts: int, **_: Any) -> float | None:
        """The seconds until the next attempt; None for no attempt of ours."""
        if response is None or attempts > 1 or response[0].status_code < 400:
            return None
        http, parsed = response
        error = ClientError(parsed, operation.name)
        if classify(error) is not Kind.EXPIRED:
            return None
        logger.warning("%s says %s; trying again with fresh credentials", service, code_of(error))
        clock.learn(http.headers.get("Date"))
        try:
            fresh = boto3.Session().get_credentials()
        except ERRORS:
            fresh = None
        if fresh is not None:  # the SDK has no public way to change a client's credentials
            made._request_signer._credentials = fresh
        return 0.0

    made.meta.events.register(f"needs-retry.{made.meta.service_model.service_id.hyphenize()}", renew)
