"""The worker that runs in Fargate: leases shards, detects objects, stores what it finds."""
