"""An audit that looks up the outcome of every frame that the stream took.

`ledger` reads what the stream took, `evidence` lists what the bucket holds, `findings` compares both and the messages.
`inbox` takes an audit's own messages from a queue that others read too.
"""

from audit.evidence import stored_objects
from audit.findings import Findings, examine
from audit.inbox import Inbox
from audit.ledger import read_ledger
from contract.ledger import Accepted

__all__ = ["Accepted", "Findings", "Inbox", "examine", "read_ledger", "stored_objects"]
