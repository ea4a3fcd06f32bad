"""`python -m services.treenode`."""

import os

# Snapshots are written by forked children that never touch gRPC: its own fork handlers would only stop its threads.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

from services.shared.startup import service_command
from services.treenode.app import start

if __name__ == "__main__":
    service_command("treenode", start)()
