"""Traffic replayed through the stack's own scaling policies, without AWS: `python -m simulation`.

`policies` reads alarms and policies from the synthesised stack, `cloudwatch` evaluates the alarms, `scaling` does what
Application Auto Scaling does with them, `pipeline` is the stream and its tasks, `traffic` the shapes, `run` the clock.
"""
