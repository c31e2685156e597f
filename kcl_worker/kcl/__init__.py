"""How do records come and checkpoints go? The KCL daemon, its record processors, and the leases in DynamoDB.

A record processor is a small process of its own and imports `wire` and the retries' jitter alone. The rest may import
the worker's ground, `contract` and `cloud`; of frames, models and sinks it knows nothing.
"""
