"""An audit that looks up the outcome of every frame that the stream took.

`ledger` reads what the stream took, `evidence` lists what the bucket holds, `findings` compares both and the messages.
`events` looks whether every event has its end. `inbox` takes an audit's own messages from a queue that others read too.
"""

from audit.events import examine_events
from audit.evidence import stored_events, stored_objects
from audit.findings import Findings, examine, tallied_frames
from audit.inbox import Inbox
from audit.ledger import read_ledger
from contract.ledger import Accepted

__all__ = [
    "Accepted",
    "Findings",
    "Inbox",
    "examine",
    "examine_events",
    "read_ledger",
    "stored_events",
    "stored_objects",
    "tallied_frames",
]
