"""Credentials of the SDK's chain, looked for by the first call that needs them.

The SDK looks for them while it makes a client, and its providers raise what their files, programs and services happen
to raise. Here all of that is an error of a call, of a kind that `cloud.errors` knows. So whoever waits for a service
that is away also waits for credentials whose service is away, and whoever tells of errors in a line tells of these.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Final

import boto3
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import NoCredentialsError

from cloud.errors import ERRORS, ExpiredCredentialsError, Kind, UnusableCredentialsError, classify

# The SDK also logs what it raises, with a traceback.
for _name in ("botocore.credentials", "botocore.tokens"):
    logging.getLogger(_name).setLevel(logging.ERROR)


class Credentials:
    """The credentials of this process, in place of the SDK's own object."""

    method: Final = "chain"

    def __init__(self) -> None:
        # STS is asked here for a role where no setting names a region: that of the last client made, as in the SDK.
        self.region: str | None = None
        self._lock = threading.Lock()
        self._found: Any = None

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Key, secret and token of this moment; the SDK calls this for each signature.

        Raises:
            One of `ERRORS`: If there are none, or none that can be used.
        """
        found = self._at_hand()
        return _told(lambda: _frozen(found))

    def get_deferred_property(self, name: str) -> Callable[[], Any]:
        """What the SDK asks for while it makes a client, and needs in a call: the account's id."""
        return lambda: _told(lambda: getattr(self._at_hand(), name, None))

    def renew(self) -> None:
        """Reads them again, wherever they come from; those at hand stay if none are found."""
        try:
            fresh = _told(self._find)
        except ERRORS:
            return
        with self._lock:
            self._found = fresh

    def forget(self) -> None:
        """Has the next call look for them."""
        self._found = None

    def _at_hand(self) -> Any:
        with self._lock:
            self._found = self._found or _told(self._find)
            return self._found

    def _find(self) -> Any:
        found = boto3.Session(region_name=self.region).get_credentials()
        if found is None:
            raise NoCredentialsError
        return found


credentials: Final = Credentials()
"""Those of all clients of this process."""


def _frozen(found: Any) -> ReadOnlyCredentials:
    frozen = found.get_frozen_credentials()
    named = {"key id": frozen.access_key, "secret": frozen.secret_key, "session token": frozen.token or ""}
    for what, value in named.items():
        if not value.isprintable():  # the SDK would show it when it cannot send it
            raise UnusableCredentialsError(text=f"the {what} has a line's end or a control character in it")
    return frozen


def _told(look: Callable[[], Any]) -> Any:
    """Does what may raise anything; raises one of `ERRORS`."""
    try:
        return look()
    except ERRORS as error:
        if classify(error) is not Kind.WRONG:
            raise
        raise UnusableCredentialsError(text=_line(error)) from None
    except EOFError:
        raise UnusableCredentialsError(text="the profile asks for an MFA code, and no terminal is there") from None
    except RuntimeError as error:  # those that have just been renewed have expired too
        raise ExpiredCredentialsError(text=_line(error)) from None
    except (OSError, ValueError) as error:
        raise UnusableCredentialsError(text=_line(error)) from None
    except Exception as error:  # what they read has not the form that they take for granted
        raise UnusableCredentialsError(text=f"not of the form that the SDK reads: {_line(error)}") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
