"""What helps when a service calls a signature or a token expired: fresh credentials, and the service's own clock.

The SDK signs with this machine's clock, whatever a service says of it, and renews credentials by that clock too. So a
client that is `renewing` makes one more attempt by itself: it signs with the time that the refusal bears, and where the
refusal is about a token, it reads the credentials again, wherever they come from.
"""

from __future__ import annotations

import logging
from typing import Any

from botocore.auth import AUTH_TYPE_MAPS, SIGV4_TIMESTAMP
from botocore.exceptions import ClientError

from cloud.clock import clock
from cloud.credentials import credentials
from cloud.errors import Kind, blames_token, classify, code_of

logger = logging.getLogger(__name__)


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
        logger.warning("%s says %s; trying again", service, code_of(error))
        clock.learn(http.headers.get("Date"))
        if blames_token(error):
            credentials.renew()
        return 0.0

    made.meta.events.register(f"needs-retry.{made.meta.service_model.service_id.hyphenize()}", renew)
