"""Which modules are changed, and which tests have to notice it: those of the module's own room, quickest first."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Room(NamedTuple):
    """Modules, and the tests of the room that they stand in. Paths from the repository's root, without `.py`."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]

    def paths(self) -> list[Path]:
        """The modules' files. Raises FileNotFoundError for a module or a test that is not there."""
        for path in (*(f"{module}.py" for module in self.modules), *self.tests):
            if not (ROOT / path).exists():
                raise FileNotFoundError(f"tools/mutants/rooms.py names {path}, which is not there")
        return [ROOT / f"{module}.py" for module in self.modules]


ROOMS = (
    Room(
        (
            "services/coordinator/election/candidates",
            "services/coordinator/election/election",
            "services/coordinator/election/handover",
            "services/coordinator/election/leases",
            "services/coordinator/election/ledger",
            "services/coordinator/election/pauses",
            "services/coordinator/election/seat",
        ),
        ("tests/scenarios/election", "tests/scenarios/leases", "tests/scenarios/seat", "tests/coordinator/election"),
    ),
    Room(
        ("services/pusher/fanout/progress", "services/pusher/fanout/replication"),
        (
            "tests/scenarios/replication",
            "tests/pusher/fanout/test_progress.py",
            "tests/pusher/fanout/test_replication_machine.py",
        ),
    ),
    Room(
        ("services/pusher/imports/places", "services/pusher/imports/rollout"),
        ("tests/scenarios/rollout", "tests/pusher/imports/test_rollout_machine.py"),
    ),
    Room(
        ("services/pusher/imports/history", "services/pusher/imports/load_words"),
        (
            "tests/pusher/imports/test_history.py",
            "tests/pusher/imports/test_load_words.py",
            "tests/pusher/imports/test_retention.py",
        ),
    ),
    Room(
        (
            "services/pusher/admission/acks",
            "services/pusher/admission/admission",
            "services/pusher/admission/batch",
            "services/pusher/admission/budget",
            "services/pusher/admission/messages",
            "services/pusher/admission/progress",
        ),
        (
            "tests/scenarios/admission",
            "tests/pusher/admission/test_acks.py",
            "tests/pusher/admission/test_messages.py",
            "tests/pusher/admission/test_acks_machine.py",
            "tests/pusher/admission/test_admission_machine.py",
        ),
    ),
    Room(("services/pusher/log/group_commit",), ("tests/pusher/log/test_group_commit.py",)),
    Room(("services/pusher/lineage/lineage",), ("tests/scenarios/lineage",)),
    Room(("services/pusher/comparison/comparison",), ("tests/scenarios/comparison",)),
    Room(("services/pusher/skips/decision",), ("tests/pusher/skips/test_decision.py",)),
    Room(("services/shared/files/arrivals",), ("tests/shared/files/test_arrivals.py",)),
    Room(
        (
            "services/shared/rules/changes",
            "services/shared/rules/history",
            "services/shared/rules/judging",
            "services/shared/rules/rules",
        ),
        (
            "tests/shared/rules/test_bounds.py",
            "tests/shared/rules/test_history.py",
            "tests/shared/rules/test_rules.py",
        ),
    ),
    Room(
        (
            "services/treenode/node/lifecycle",
            "services/treenode/node/role",
            "services/treenode/node/sequence",
            "services/treenode/node/node",
        ),
        (
            "tests/scenarios/cutover",
            "tests/scenarios/lifecycle",
            "tests/scenarios/role",
            "tests/scenarios/sequence",
            "tests/scenarios/node",
            "tests/treenode/node/test_lifecycle.py",
            "tests/treenode/node/test_role.py",
            "tests/treenode/node/test_sequence.py",
            "tests/treenode/node/test_node_core.py",
        ),
    ),
    Room(
        (
            "services/treenode/node/builds",
            "services/treenode/node/cutover",
            "services/treenode/node/search",
            "services/treenode/node/tree_in_force",
        ),
        (
            "tests/scenarios/cutover",
            "tests/scenarios/node",
            "tests/treenode/node/test_builds.py",
            "tests/treenode/node/test_tree_in_force.py",
            "tests/treenode/node/test_cutover_machine.py",
        ),
    ),
    Room(("services/treenode/periods/keeping",), ("tests/scenarios/periods",)),
    Room(("services/treenode/replication/stream",), ("tests/scenarios/stream",)),
    Room(
        (
            "services/treenode/tree/apply",
            "services/treenode/tree/changes",
            "services/treenode/tree/held",
            "services/treenode/tree/outcomes",
            "services/treenode/tree/skips",
        ),
        (
            "tests/treenode/tree/test_held_updates.py",
            "tests/treenode/tree/test_tree_changes.py",
            "tests/treenode/tree/test_tree_batches.py",
            "tests/treenode/tree/test_tree_held.py",
            "tests/treenode/tree/test_tree_settled.py",
            "tests/treenode/tree/test_tree_failures.py",
            "tests/treenode/tree/test_tree_rules.py",
            "tests/treenode/tree/test_tree_volumes.py",
            "tests/treenode/tree/test_tree_ids.py",
            "tests/treenode/tree/test_tree_state.py",
            "tests/treenode/tree/test_tree_machine.py",
        ),
    ),
    Room(("services/shared/wire/record",), ("tests/shared/test_records.py",)),
)
