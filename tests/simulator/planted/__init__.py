"""Bugs planted on purpose: each breaks one rule of a core or of a shell, and the simulator has to find it.

A simulator that finds nothing proves nothing; one that finds each of these within its stated number of seeds does. A
bug is a replacement of one method or value for the length of a run; the real code is never changed. One file for each
service, or for each of its rooms.
"""

from __future__ import annotations

from tests.simulator.planted.admission import ADMISSION
from tests.simulator.planted.coordinator import COORDINATOR
from tests.simulator.planted.cutover import CUTOVER
from tests.simulator.planted.imports import IMPORTS
from tests.simulator.planted.lineage import LINEAGE
from tests.simulator.planted.node import NODE
from tests.simulator.planted.periods import PERIODS
from tests.simulator.planted.pusher import PUSHER
from tests.simulator.planted.rules import RULES
from tests.simulator.planted.stored import STORED

PLANTED = (*PUSHER, *RULES, *ADMISSION, *IMPORTS, *NODE, *LINEAGE, *CUTOVER, *STORED, *PERIODS, *COORDINATOR)
