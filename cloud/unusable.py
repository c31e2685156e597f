"""What is wrong with settings of the SDK with which no client can be made; imported without the SDK."""

from __future__ import annotations


class UnusableSettingsError(Exception):
    """No client can be made; the error's text is one line.

    Args:
        credentials: Whether it is for credentials, such as a profile that is not there.
    """

    def __init__(self, text: str, *, credentials: bool = False) -> None:
        super().__init__(text)
        self.credentials = credentials
