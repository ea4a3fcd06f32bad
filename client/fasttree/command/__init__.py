"""The `fasttree` command: a cluster on this machine, and everything an operator does with one anywhere."""

import os
import signal
import sys
from pathlib import Path

# Commands start processes while gRPC's threads run, as services do: what makes that safe has its home there, and stands
# before all imports of gRPC.
import services as services

# What gRPC would write of a refused certificate, in its own words, over and over: the command's one line says it.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# Ctrl-C while all is imported ends the process without a traceback; `main` takes it back. Only where this process is
# the command: whoever imports it keeps what is set.
_program = Path((sys.argv or [""])[0]).name
if _program in ("fasttree", "-m") and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
