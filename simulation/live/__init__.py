"""The stack's scaling policies over real workers on the embedded AWS, in compressed time: `make scale-demo`.

`clock` compresses time, `feed` carries what real processes say of themselves to the simulation's CloudWatch, `service`
stands in for ECS, `quota` for a task's share of a processor. `rehearsal` runs them, and `comparison` and `chart` hold
what came of it against the simulation's forecast.
"""
