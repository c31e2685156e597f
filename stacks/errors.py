"""What keeps an operator's command from being carried out."""

from __future__ import annotations


class DeployError(Exception):
    """Its text is one line with what to do."""
