"""`make local`: the embedded AWS alone, with a stream, a bucket and queues to try things on."""

from __future__ import annotations

import argparse
import shlex

from local import models
from local.processes import Aws
from local.resources import Resources

EXPORTED = (
    "AWS_ENDPOINT_URL",
    "CBOR_ENABLED",
    "AWS_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "KINESIS_STREAM_NAME",
    "S3_BUCKET_NAME",
    "SQS_QUEUE_URL",
    "QUARANTINE_QUEUE_URL",
    "EVENTS_QUEUE_URL",
    "SOURCES_PATH",
    "YOLO_MODEL_PATH",
)


def main() -> None:
    parser = argparse.ArgumentParser(description="an embedded AWS with the pipeline's resources")
    parser.add_argument("--port", type=int, default=4566, help="default: 4566")
    parser.add_argument("--shards", type=int, default=2, help="of the stream (default: 2)")
    args = parser.parse_args()
    try:
        server = Aws(args.port)
    except RuntimeError:
        parser.exit(1, f"error: port {args.port} is taken; PORT=… chooses another\n")
    with server:
        resources = Resources.create(server.url, shards=args.shards)
        print("# The embedded AWS runs until Ctrl-C. In another terminal:")
        environment = resources.environment() | {"YOLO_MODEL_PATH": str(models.at_hand())}
        for name in EXPORTED:
            print(f"export {name}={shlex.quote(environment[name])}")
        print("# .venv/bin/python -m kcl_worker   .venv/bin/producer send demo   .venv/bin/consumer watch", flush=True)
        try:
            server.process.wait()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
