"""CDK for Terraform's entry point: synthesises one environment into `cdktf.out/`.

ENVIRONMENT=dev ACCOUNT=123456789012 python main.py
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from stacks.config import Config, ConfigError

ROOT = Path(__file__).parent


def main() -> int:
    """0, or 2 with one line where the configuration is wrong."""
    environment = os.environ.get("ENVIRONMENT", "dev")
    try:
        config = Config.read(ROOT / "environments" / f"{environment}.toml")
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    # Imported late, so that a wrong configuration is told at once and without Node.
    from stacks.app import synthesise

    folder = Path(os.environ.get("CDKTF_OUTDIR", ROOT / "cdktf.out"))
    print(synthesise(config, environment, os.environ.get("ACCOUNT") or None, folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
