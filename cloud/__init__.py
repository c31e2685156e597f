"""How does this project call AWS? Clients, endpoints, a deployment's outputs, kinds of errors, renewal of what has
expired, the services' time, waits of retries.

Each caller keeps only its policy: how long it tries and what it does then. This package imports nothing else of this
project. `clock`, `endpoints`, `outputs`, `retry` and `version` load no SDK.
"""
