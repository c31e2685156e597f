"""Where do outcomes go? Frames and states go to S3, messages to SQS; each call waits while its service is down.

May import the worker's ground, `contract` and `cloud`.
"""
