"""Traffic replayed through the stack's own scaling policies, without AWS: `python -m simulation`.

`policies` reads alarms and policies from the synthesised stack, `cloudwatch` evaluates the alarms, `scaling` acts on
them like Application Auto Scaling, `pipeline` models the stream and its tasks, `traffic` holds the shapes of traffic,
and `run` is the clock.
"""
