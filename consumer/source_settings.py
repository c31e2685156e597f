"""A source's settings in Parameter Store, as the page and the clips need them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from cloud.errors import code_of
from consumer.errors import RefusedError
from consumer.results import ATTEMPTS, call
from contract.errors import FrameError
from contract.frame import check_source
from contract.source_settings import DEFAULT, MAX_BYTES, SourceSettings


@dataclass(frozen=True, slots=True)
class Read:
    """Settings as they were read.

    Attributes:
        text: The parameter's value; `{}` if there is none.
        version: Counts the parameter's values; 0 if there is none.
    """

    settings: SourceSettings
    text: str
    version: int


class SourceParameters:
    """The parameters of sources under a path.

    Args:
        ssm: A client of Systems Manager that does not retry by itself.
        path: Without a slash at its end.
        defaults: Of what a source's own settings do not say.
        attempts: Of each call, while the service fails.
    """

    def __init__(self, ssm: Any, path: str, *, defaults: SourceSettings = DEFAULT, attempts: int = ATTEMPTS) -> None:
        self._ssm, self._path, self._defaults, self._attempts = ssm, path, defaults, attempts

    def read(self, source: str) -> Read:
        """Reads a source's settings.

        Raises:
            RefusedError: If they cannot be used; the worker then goes on with others, which nobody else knows.
            ConsumerError: If they cannot be read.
        """
        name = self._name(source)

        def get() -> tuple[str, int]:
            try:
                found = self._ssm.get_parameter(Name=name)["Parameter"]
            except ClientError as error:
                if code_of(error) != "ParameterNotFound":
                    raise
                return "{}", 0
            return found["Value"], found["Version"]

        text, version = call(name, get, self._attempts)
        try:
            return Read(SourceSettings.parse(text, defaults=self._defaults), text, version)
        except ValueError as error:
            raise RefusedError(f"{name}: {error}") from None

    def write(self, source: str, text: str) -> int:
        """Writes a source's settings, which workers apply within half a minute; gives their version.

        Raises:
            RefusedError: If workers could not use them.
            ConsumerError: If they cannot be written.
        """
        try:
            SourceSettings.parse(text, defaults=self._defaults)
        except ValueError as error:
            raise RefusedError(str(error)) from None
        if len(text.encode()) > MAX_BYTES:
            raise RefusedError(f"{len(text.encode())} bytes of settings: a parameter holds {MAX_BYTES}")
        name = self._name(source)
        answer = call(
            name,
            lambda: self._ssm.put_parameter(Name=name, Value=text, Type="String", Overwrite=True),
            self._attempts,
        )
        return int(answer["Version"])

    def _name(self, source: str) -> str:
        try:
            check_source(source)
        except FrameError as error:
            raise RefusedError(error.detail) from None
        return f"{self._path}/{source}"
