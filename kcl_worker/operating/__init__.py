"""How does a worker report its state? Health, status, metrics and logs.

May import `kcl` (the shards that are held), the worker's ground and `cloud`.
"""
