"""The times that an election goes by."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ElectionSettings:
    """Times of the election, in seconds."""

    #: How long a node is taken for alive after a heartbeat, and how long a grant runs.
    lease_s: float = 1.0
    #: How long a switchover's target may take to catch up.
    switchover_timeout_s: float = 30.0
    #: How long the seat is kept free for the target once the old primary is gone.
    closing_s: float = 1.0
    #: How often nodes are asked for a heartbeat at once while a switchover waits for them.
    probe_interval_s: float = 0.02
    #: A write that failed is tried again after this long.
    write_again_s: float = 0.25
    #: How long a process that did not take the role lets others go first.
    demotion_s: float = 10.0
    #: How long a dead node that is not in the host file stays listed.
    forget_s: float = 600.0
