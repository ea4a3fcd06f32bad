"""The `fasttree` command: a cluster on this machine, and everything an operator does with one anywhere."""

import os
import signal
import sys
from pathlib import Path

# `fasttree up` starts processes while gRPC's threads run. Between fork and exec nothing of gRPC is used, so its fork
# handlers have nothing to do, and would only complain. Read when grpc is imported, so it stands before all imports.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# What gRPC would write of a refused certificate, in its own words, over and over: the command's one line says it.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# Ctrl-C while all is imported ends the process without a traceback; `main` takes it back. Only where this process is
# the command: whoever imports it keeps what is set.
_program = Path((sys.argv or [""])[0]).name
if _program in ("fasttree", "-m") and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
