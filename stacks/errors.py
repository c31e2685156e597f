"""The error of an operator's command that cannot be carried out."""

from __future__ import annotations


class DeployError(Exception):
    """A command cannot be carried out; the error's text is one line that says what to do."""
