"""The pipeline as people first write it: a loop over shards, one frame after the other, on boto3 and ultralytics.

It has no leases, checkpoints or batches, and survives no error. `benchmarks.whole_way` compares the worker with it.

    python -m benchmarks.naive yolov8n.pt
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime
from uuid import uuid4

import boto3
import cv2
import numpy as np
from ultralytics import YOLO


def main() -> None:
    stream, bucket, queue = (os.environ[name] for name in ("KINESIS_STREAM_NAME", "S3_BUCKET_NAME", "SQS_QUEUE_URL"))
    model = YOLO(sys.argv[1])
    kinesis, s3, sqs = (boto3.client(service) for service in ("kinesis", "s3", "sqs"))
    iterators = {}
    for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
        iterators[shard["ShardId"]] = kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
    while True:
        for shard_id, iterator in iterators.items():
            response = kinesis.get_records(ShardIterator=iterator, Limit=25)
            iterators[shard_id] = response["NextShardIterator"]
            for record in response["Records"]:
                image = cv2.imdecode(np.frombuffer(record["Data"], np.uint8), cv2.IMREAD_COLOR)
                result = model.predict(image, conf=0.5, verbose=False)[0]
                key = f"frames/{datetime.now(UTC):%Y/%m/%d/%H%M%S}-{uuid4().hex}.jpg"
                _, jpeg = cv2.imencode(".jpg", result.plot())
                s3.put_object(Bucket=bucket, Key=key, Body=jpeg.tobytes(), ContentType="image/jpeg")
                summary = [
                    {
                        "class": result.names[int(box.cls)],
                        "conf": round(float(box.conf), 3),
                        "bbox": box.xywhn[0].tolist(),
                    }
                    for box in result.boxes
                ]
                body = {"bucket": bucket, "key": key, "detections_count": len(summary), "summary": summary}
                sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(body))
        time.sleep(0.2)


if __name__ == "__main__":
    main()
