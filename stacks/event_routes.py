"""Where an environment's events go: the `[events]` section of its file.

    [events.rules.visitors]
    kinds = ["appear"]
    zones = ["door"]
    phase = "start"
    email = "guard@example.com"

A rule passes the events that agree with all of its filters to one target.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from contract.event_rules import EventKind
from contract.frame import SOURCE_PATTERN
from contract.shapes import Name

TARGETS: Final = ("email", "sns", "queue", "webhook", "bus")
# Of a bus, as the resources that a rule takes are named after it, and IAM limits the size of what may use them:
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html allows more.
MAX_RULES: Final = 16
_ACCOUNT: Final = r"[a-z0-9-]+:\d{12}"
# EventBridge names connections in 64 characters; an environment and what the name is for take 35 of them.
RuleName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,27}$")]
Source = Annotated[str, StringConstraints(pattern=rf"^{SOURCE_PATTERN}$")]


class EventRoute(BaseModel):
    """Which events go to a target; a filter that is left out lets all through."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: tuple[Source, ...] = Field(default=(), max_length=64, description="of these sources")
    kinds: tuple[EventKind, ...] = Field(
        default=(), description="of these kinds: `appear`, `leave`, `dwell`, `cross`, `count`, `silent`"
    )
    rules: tuple[Name, ...] = Field(default=(), max_length=64, description="of these rules of the sources' settings")
    zones: tuple[Name, ...] = Field(default=(), max_length=64, description="in these zones")
    phase: Literal["start", "end"] | None = Field(default=None, description="only their `start`, or only their `end`")
    email: str = Field(
        default="",
        pattern=r"^(\S+@\S+)?$",
        description="target: an address, whose owner has to confirm; a line of text",
    )
    sns: str = Field(default="", pattern=rf"^(arn:aws:sns:{_ACCOUNT}:\S+)?$", description="target: a topic of yours")
    queue: str = Field(default="", pattern=rf"^(arn:aws:sqs:{_ACCOUNT}:\S+)?$", description="target: a queue of yours")
    webhook: str = Field(
        default="", pattern=r"^(https://\S+)?$", description="target: an address that gets each event as a POST of JSON"
    )
    header: str = Field(
        default="Authorization",
        pattern=r"^[A-Za-z0-9-]{1,64}$",
        description="with `webhook`, the header that carries the secret",
    )
    secret: str = Field(
        default="",
        pattern=r"^(/[A-Za-z0-9_.-]+)*$",
        description="with `webhook`, the name of the parameter in Parameter Store, a SecureString, that holds the "
        "header's value; `make deploy` hands it to EventBridge, and no file or state has it",
    )
    bus: str = Field(
        default="",
        pattern=rf"^(arn:aws:events:{_ACCOUNT}:event-bus/\S+)?$",
        description="target: another bus, of another account too",
    )

    @property
    def target(self) -> str:
        """The kind of its target, one of `TARGETS`."""
        return next(name for name in TARGETS if getattr(self, name))

    @model_validator(mode="after")
    def _check_target(self) -> Self:
        if len(given := [name for name in TARGETS if getattr(self, name)]) != 1:
            raise ValueError(f"{' and '.join(given) or 'no target'}: one of {', '.join(TARGETS)} is needed")
        if self.secret and not self.webhook:
            raise ValueError("secret: only a webhook has one")
        return self


class EventsConfig(BaseModel):
    """Where events go besides their queue: a bus of EventBridge, its archive and its rules."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bus: bool = Field(
        default=True,
        description="a bus of EventBridge beside the queue; each event on it costs a millionth of a dollar",
    )
    archive_days: int = Field(
        default=30, ge=0, le=3650, description="days for which the bus keeps events for a replay; 0: no archive"
    )
    rules: dict[RuleName, EventRoute] = Field(
        default_factory=dict,
        max_length=MAX_RULES,
        description=f"at most {MAX_RULES} rules, each as `[events.rules.NAME]`: which events go where",
    )

    @model_validator(mode="after")
    def _check_bus(self) -> Self:
        if self.rules and not self.bus:
            raise ValueError(f"bus false: the rules {', '.join(self.rules)} take events from it")
        return self
