"""How does a worker live? The start, main loop and end of the process that runs in Fargate, and the way of a frame.

Read `worker` (the process's life) and `pipeline` (a frame's way) first. `wiring` puts the parts together. The parts are
packages, and each answers one question:

    kcl        how do records come and checkpoints go?
    vision     what is in a picture?
    tracking   what happens from frame to frame?
    storing    where do outcomes go?
    operating  how does it report its state?

They may import the worker's ground, which is `budget`, `doing`, `errors`, `heap`, `kinship`, `record` and
`settings`, and nothing else of this package.
`docs/architecture.md` has the table of allowed imports, and a test holds the code to it.
"""
