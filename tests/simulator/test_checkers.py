"""What the checkers make of imports that the pusher has no record of: nodes took them, and the word was lost."""

from __future__ import annotations

import pytest

from fasttree.v1 import types_pb2
from services.shared.rules import rules_message
from tests.simulator.checkers import History, Violation
from tests.simulator.pusher_imports import StoredImport
from tests.simulator.toy_rules import FIRST
from tests.simulator.toy_tree import ENROL, MARK, RULE, ImportFile, ToyTree, Update

_FOUNDED = types_pb2.Update(rules_founded=types_pb2.RulesFounded(rules=rules_message(FIRST)))
#: The second is held at the file's position, and released by the enrolment after it.
LOG = (
    Update("rules", RULE, 0, 0, content=_FOUNDED.SerializeToString()),
    Update("status", MARK, 7, 100),
    Update("enrolment", ENROL, 7, 0),
)
AS_OF, IMPORT_ID = 2, 4
FILE = ImportFile({1: ((), 0)}, sound=True, held=(2,))


def _history() -> History:
    history = History()
    for position, update in enumerate(LOG, 1):
        history.placed(position, update, "the log")
    return history


def _stored(carried: tuple[int, ...] = (), *, taken: bool = False) -> dict[int, StoredImport]:
    meant = types_pb2.ImportManifest(as_of_position=AS_OF)
    return {IMPORT_ID: StoredImport(FILE, AS_OF, meant, carried, taken=taken)}


def test_a_state_of_an_import_that_one_node_took_unheard_is_replayed_with_what_that_node_carried() -> None:
    history = _history()
    history.took_import("node-4", IMPORT_ID, FILE, (2,))
    history.check_imports(_stored())
    served = ToyTree(IMPORT_ID, AS_OF, FILE.members, FIRST)
    served.offer_carried([(2, LOG[1])])
    served.apply(3, LOG[2])
    replayed = history.replay(IMPORT_ID, 3)
    assert replayed.digest == served.digest
    assert replayed.released == {2: 3}


def test_a_node_that_took_it_unheard_with_other_updates_than_were_held_is_found() -> None:
    history = _history()
    history.took_import("node-4", IMPORT_ID, FILE, ())
    with pytest.raises(Violation, match=r"4 carries \(\); held were"):
        history.check_imports(_stored())


def test_nodes_that_take_it_with_different_updates_are_found() -> None:
    history = _history()
    history.took_import("node-4", IMPORT_ID, FILE, (2,))
    history.took_import("node-1", IMPORT_ID, FILE, (2,))
    with pytest.raises(Violation, match=r"node-2 takes 4 with \(\), another took it with \(2,\)"):
        history.took_import("node-2", IMPORT_ID, FILE, ())


def test_a_record_of_other_updates_than_nodes_took_it_with_is_found() -> None:
    history = _history()
    history.took_import("node-4", IMPORT_ID, FILE, (2,))
    history.check_imports(_stored((2,), taken=True))
    with pytest.raises(Violation, match=r"4 is recorded with \(\), nodes took it with \(2,\)"):
        history.check_imports(_stored(taken=True))


def test_what_a_node_carries_that_took_the_import_before_unheard_is_what_was_held_in_its_eyes() -> None:
    """By the file's maker the second is held still; the node's tree has the member, by a file nobody else heard of."""
    newer = IMPORT_ID + 1
    imports = {
        IMPORT_ID: StoredImport(FILE._replace(members={7: ((), 0)}, held=()), AS_OF, types_pb2.ImportManifest()),
        newer: StoredImport(FILE, AS_OF, types_pb2.ImportManifest()),
    }
    history = _history()
    history.took_import("node-4", newer, FILE, ())
    with pytest.raises(Violation, match=r"5 carries \(\); held were"):
        history.check_imports(imports)
    history.took_import("node-4", IMPORT_ID, FILE, ())
    history.check_imports(imports)


def test_another_log_begins_without_what_the_imports_of_the_log_before_carried() -> None:
    history = _history()
    history.took_import("node-4", IMPORT_ID, FILE, (2,))
    history.begin()
    history.took_import("node-1", IMPORT_ID, FILE, ())
    assert history.carried_by == {IMPORT_ID: ()}
