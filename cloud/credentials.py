"""Credentials of the SDK's chain, looked for by the first call that needs them.

The SDK looks for them while it makes a client, and its providers raise what their files, programs and services happen
to raise. Here all of that is an error of a call, of a kind that `cloud.errors` knows. So whoever waits for a service
that is away also waits for credentials whose service is away, and whoever tells of errors in a line tells of these. An
instance's metadata service alone looks, where it is away, as if there were none.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import boto3
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import NoCredentialsError

from cloud.errors import (
    ERRORS,
    ExpiredCredentialsError,
    UnusableCredentialsError,
    describe,
    lack_of_credentials,
    line,
    may_pass,
)

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
        self._lookups = 0
        self._failure: Exception | None = None

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
        before = self._lookups
        with self._lock:
            if self._lookups == before:  # else another thread has just done so
                with suppress(*ERRORS):
                    self._look()

    def forget(self) -> None:
        """Has the next call look for them."""
        self._found = None

    def _at_hand(self) -> Any:
        if (found := self._found) is not None:
            return found
        before = self._lookups
        with self._lock:
            if self._found is None:
                # A lookup may last for many seconds, and those who waited for one would repeat it one by one.
                if self._failure and self._lookups != before:
                    raise self._failure.with_traceback(None)
                self._look()
            return self._found

    def _look(self) -> None:
        try:
            self._found, self._failure = _told(self._find), None
        except ERRORS as error:
            self._failure = error
            raise
        finally:
            self._lookups += 1

    def _find(self) -> Any:
        """Those of the SDK's chain, of which some ask their service when they are used first."""
        found = boto3.Session(region_name=self.region).get_credentials()
        if found is None:
            raise NoCredentialsError
        _frozen(found)
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
        if "Invalid header value" in str(error):  # it follows, and may be a token
            raise UnusableCredentialsError(text="a key or token has a line's end or a control character") from None
        if may_pass(error) or lack_of_credentials(error):
            raise
        # What the service of a role or a token says is not what the called service says.
        raise UnusableCredentialsError(text=describe(error)) from None
    except EOFError:
        raise UnusableCredentialsError(text="the profile asks for an MFA code, and no terminal is there") from None
    except RuntimeError as error:  # those that have just been renewed have expired too
        raise ExpiredCredentialsError(text=line(error)) from None
    except (OSError, ValueError) as error:
        raise UnusableCredentialsError(text=line(error)) from None
    except Exception as error:  # what they read has not the form that they take for granted
        raise UnusableCredentialsError(text=f"not of the form that the SDK reads: {line(error)}") from None
