"""The `fasttree` command: a cluster on this machine, and everything an operator does with one anywhere."""

import os

# `fasttree up` starts processes while gRPC's threads run. Between fork and exec nothing of gRPC is used, so its fork
# handlers have nothing to do, and would only complain. Read when grpc is imported, so it stands before all imports.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
