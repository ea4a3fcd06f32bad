"""The three FastTree services, and what they share."""

import gc
import os

# gRPC's event engine hands each message from its poller to a pool of threads and from there to the one that wakes
# asyncio; without it the last of these polls itself. A lone push is then acknowledged by all nodes a tenth sooner, and
# costs a seventh less. To be set before gRPC starts; `GRPC_EXPERIMENTS` from outside takes its place.
os.environ.setdefault(
    "GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener,-event_engine_for_all_other_endpoints"
)
# Nothing of gRPC is used between a fork and what comes of it, a snapshot or another program. Its fork handlers would
# only stop its threads, and where one of these is in a call, a child in a hundred dies. Read when gRPC is loaded.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")


def _keep_garbage_at_forks() -> None:
    """A child that is forked to become another program still runs some Python. Were garbage collected there, gRPC's
    would wait for threads that are the parent's alone, for ever, and the parent for the child."""
    collects = gc.isenabled()

    def before() -> None:
        nonlocal collects
        collects = gc.isenabled()
        gc.disable()

    def after_in_parent() -> None:
        if collects:
            gc.enable()

    os.register_at_fork(before=before, after_in_parent=after_in_parent)


_keep_garbage_at_forks()
