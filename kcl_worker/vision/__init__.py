"""What is in a picture? From a JPEG to detections and an annotated JPEG, without AWS.

May import the worker's ground and `contract`.
"""
