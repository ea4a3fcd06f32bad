"""`python -m services.treenode`."""

import gc
import os


def main() -> None:
    """The node's command line."""
    # A start makes objects that stay; looking for garbage among them costs a tenth of it. `app.start` turns it on.
    gc.disable()
    # Snapshots are written by forked children that never touch gRPC: its fork handlers would only stop its threads.
    # It reads this when it is loaded.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

    from services.shared.startup import service_command
    from services.treenode.app import start

    service_command("treenode", start)()


if __name__ == "__main__":
    main()
