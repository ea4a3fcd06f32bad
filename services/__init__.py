"""The three FastTree services, and what they share."""

import os

# gRPC's event engine hands each message from its poller to a pool of threads and from there to the one that wakes
# asyncio; without it the last of these polls itself. A lone push is then acknowledged by all nodes a tenth sooner, and
# costs a seventh less. To be set before gRPC starts; `GRPC_EXPERIMENTS` from outside takes its place.
os.environ.setdefault(
    "GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener,-event_engine_for_all_other_endpoints"
)
