"""Installs one layer of the locked requirements: `python3 -m local.install demo`.

The layers of `.venv` grow on one another: demo, camera, infra, dev. `model`, `quantise` and `scan` have environments
of their own. `uv` installs, whose wheel pip fetches by its hash; where it cannot be had or cannot run, pip installs
from the same files. This runs before anything is installed: the standard library is all it has.
"""
