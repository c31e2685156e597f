"""An audit that knows every frame that the stream took, and looks for what became of it.

`ledger` is what the producer was told, `evidence` what lies in the bucket and came from the queues, `findings` the
comparison. `inbox` takes the messages that are asked for from a queue that others read too.
"""

from audit.evidence import stored_objects
from audit.findings import Findings, examine
from audit.inbox import Inbox
from audit.ledger import read_ledger
from contract.ledger import Accepted

__all__ = ["Accepted", "Findings", "Inbox", "examine", "read_ledger", "stored_objects"]
