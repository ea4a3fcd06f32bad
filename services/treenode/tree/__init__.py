"""The genealogy engine: columns, kernels, updates. No I/O, no clock; usable and measurable alone.

    tree = Tree.from_table(table, rules_of(("PV",), ("2026-11",)), import_id=1, position=0)
    tree.apply(1, updates)

**Layout.** Two trees, by sponsor and by placement, over the same members, and no Python object for any of them. A
member is a *row*: an index into the columns of `Store`. In each tree it has a *seat*, the index into that tree's
columns (`Genealogy`). At an import both trees are numbered in pre-order, so a member's downline is one range of seats;
rows are the sponsor tree's seats, and the placement tree has `seat_of` and `row_at` to go back and forth. Later members
get the next row and the same seat number, at the end.

| column | bytes | what it holds, and what binds it |
|---|---|---|
| `ids.words` | 4 for each 4 characters of the longest id | the id; all zeros for a free row |
| `ids.slots` | about 6 | open addressing by the id's 64-bit key: all and only the places, each once |
| `kind` | 1 | 1 distributor, 2 customer; 0: an empty place, or a free row |
| `status`, `rank`, `joined_on`, `leg` | 12 | the member's own; `leg`: 0 unless placed, no two of a parent alike |
| `shown` kind and rank | 0 (3 where a rule about customers holds) | as reports show them (columns/shown.py) |
| `personal` | 4 a slot (8 once needed) | own volume; a slot is one volume type in one period (columns/slots.py) |
| `parent` | 4 a tree | the parent's seat; TOP; FREE in both trees or in none |
| `following`, `preceding` | 8 a tree | siblings; the first one's `preceding` is the last one: both ends are at hand |
| `span` | 4 a tree | clean: the end of the range that is exactly the downline; dirty: the first child (links.py) |
| `level` | 4 a tree | the parent's and one more; 0 at the top |
| `members` | 4 a tree | members below, empty places not counted |
| `group` | 8 a slot and tree | own volume and that of the whole downline, empty places included |
| `seat_of`, `row_at` | 8 | inverse to each other |
| a further column | 8 (4: days) | a number, or a reference to a text, which lies apart (columns/texts.py) |

With two types, two periods and ids of 8 characters that is 164 bytes a member. `validate()` computes every derived
column anew from `parent`, `personal`, `kind` and the ids, and compares.

**Places and members.** A removed member's row becomes free (compress), or stays as an empty place: it keeps id, links,
volume, and loses everything else. Whoever names an empty place names a member that is not known; an enrolment with its
id takes the place again, and moves it where the enrolment says. Without a placement a member with a sponsor is in the
holding tank; one without either is a root of both trees.

**Updates.** Orders and enrolments go through kernels by the batch (postings.py), all else one by one (changes.py,
moves.py); apply.py takes them in order, outcomes.py holds and rejects. An order walks the upline in both trees; an
enrolment too, for `members`. A move costs both uplines, and its downline only where its level changes. Integers are
int64 and never wrap: as long as the sum of all posted amounts is below 2**62 nothing can overflow, beyond that every
walk is checked first.

**Reads.** `columns/ids.py` leads from ids to rows, `kernels/walks.py` and `kernels/ranges.py` from seats to uplines,
front lines, downlines; rows and seats mean something until the next update only. After many changes to links walks get
slower; `relayout()` gives the same tree in a fresh layout. Arrays are replaced, never resized, when they grow or widen.

**Determinism.** What an update does depends on the state alone: not on its batch, row numbers, codes of texts, or when
the tree was laid out anew. What is in force (`Tree.rules`) is a part of the state, and changed by updates alone. The
digest (digest.py) holds all nodes to that.
"""

from services.shared.domain.limits import NO_DAY, NO_NUMBER
from services.treenode.tree.failures import StopBeforeError, UpdateFailedError, defect
from services.treenode.tree.held import CarriedHold, NotApplied, resolved
from services.treenode.tree.reconcile import Reconciliation
from services.treenode.tree.skips import Skip
from services.treenode.tree.state import StateError
from services.treenode.tree.table import FurtherColumn, ImportTable
from services.treenode.tree.tree import Tree
from services.treenode.tree.validate import InvariantError

__all__ = [
    "NO_DAY",
    "NO_NUMBER",
    "CarriedHold",
    "FurtherColumn",
    "ImportTable",
    "InvariantError",
    "NotApplied",
    "Reconciliation",
    "Skip",
    "StateError",
    "StopBeforeError",
    "Tree",
    "UpdateFailedError",
    "defect",
    "resolved",
]
