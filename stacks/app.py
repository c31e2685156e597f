"""Synthesis: from a configuration to Terraform."""

from __future__ import annotations

from pathlib import Path

from cdktf import App

from stacks.config import Config
from stacks.github import GithubStack
from stacks.pipeline import PipelineStack
from stacks.state import StateStack
from stacks.versions import finish, name_provider


def synthesise(config: Config, environment: str, account: str | None, folder: Path, *, protected: bool = True) -> Path:
    """Writes the stacks of an environment; gives the folder of the pipeline's stack.

    Args:
        account: The AWS account, which names the bucket of the state. Without it, the pipeline's state
            is a local file, and the stack of the state's bucket is left out.
        protected: Whether Terraform refuses to destroy what holds data.
    """
    app = App(outdir=str(folder))
    if account:
        StateStack(app, "state", config, account)
        if config.github.repository:
            GithubStack(app, "github", config, environment, account)
    PipelineStack(app, environment, config, account, protected=protected)
    name_provider(app)
    app.synth()
    finish(folder)
    return folder / "stacks" / environment
