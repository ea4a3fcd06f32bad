"""What a node tells: where it stands, what an operator has to know, and in its log what its core does."""

from __future__ import annotations

import logging

from fasttree.v1 import coordinator_pb2
from services.shared.files.sealed.own import sealing_problem
from services.shared.rules import RULE_VERSION
from services.shared.security.audit.log import audit_problem
from services.shared.security.own import certificate_expires, security_problem
from services.treenode.node.lifecycle import EndWatches, NodeState, StateChanged
from services.treenode.node.node import NodeCore
from services.treenode.node.role import AnswerRefused, Demoted, Promoted
from services.treenode.node.sequence_events import FindBase, Halt, RefusePusher
from services.treenode.node.tree_in_force import TreeInForce
from services.treenode.tree import Tree

logger = logging.getLogger(__name__)


class Refusals:
    """The same refusal comes with every heartbeat, and with every hello: once is enough."""

    def __init__(self) -> None:
        self._answer = self._pusher = ""

    def of_answer(self, action: AnswerRefused) -> None:
        """An answer of the coordinator."""
        if action.reason != self._answer:
            self._answer = action.reason
            logger.warning("an answer of the coordinator is not believed: %s", action.reason)

    def of_pusher(self, action: RefusePusher) -> None:
        """A pusher."""
        if action.reason != self._pusher:
            self._pusher = action.reason
            logger.error("refuses the pusher, and serves on: %s", action.reason)


def status(
    core: NodeCore,
    in_force: TreeInForce[Tree, int],
    loading: tuple[int, int],
    build_fault: Halt | None,
    stored: coordinator_pb2.StoredSnapshot,
) -> coordinator_pb2.NodeStatus:
    """Where the node stands, for the coordinator and the pusher. `loading`: which import, and how far, in percent."""
    sequence, halt = core.sequence, core.sequence.halt
    fault = halt or build_fault
    file_volume_types, file_periods = in_force.tree.slots.beyond(in_force.tree.rules)
    return coordinator_pb2.NodeStatus(
        state=coordinator_pb2.NodeState.ValueType(int(core.state)),
        import_id=sequence.import_id,
        position=sequence.position,
        digest=in_force.tree.digest,
        log_id=sequence.log_id,
        primary_epoch=core.role.primary_epoch,
        known_epoch=core.role.epoch,
        loading_import_id=loading[0],
        loading_percent=loading[1],
        record_position=in_force.last_record[0],
        record_crc32=in_force.last_record[1],
        halted_before=halt.before if halt is not None else 0,
        halt_reason=trouble(halt, build_fault),
        fault_position=fault.fault_position if fault is not None else 0,
        file_periods=file_periods,
        file_volume_types=file_volume_types,
        rule_version=RULE_VERSION,
        audit_problem=audit_problem(),
        stored_snapshot=stored if stored.place else None,
        certificate_expires=certificate_expires(),
        sealing_problem=sealing_problem(),
        security_problem=security_problem(),
    )


def trouble(halt: Halt | None, build_fault: Halt | None) -> str:
    """What an operator has to know and do, in one line; empty where all is well."""
    if halt is not None:
        held = (
            f" (it would release update {halt.fault_position})" if halt.fault_position not in (0, halt.before) else ""
        )
        return f"halted before update {halt.before}{held}: {halt.reason}"
    if build_fault is not None:
        return (
            f"can't build a new tree: update {build_fault.fault_position or build_fault.before}: {build_fault.reason}"
        )
    return ""


def standing(core: NodeCore, old_log_id: str | None) -> str:
    """What there is to say about the tree that is served, or is not; empty where all is as it should be. `old_log_id`:
    its log, where that is not the node's own."""
    sequence, behind = core.sequence, core.behind
    words = []
    if sequence.refused_reason:
        words.append(f"refuses the pusher: {sequence.refused_reason}")
    elif old_log_id is not None:
        words.append(f"serves the tree of log {old_log_id} until it has an import of log {sequence.log_id}")
    if behind is not None and core.state is NodeState.CATCHING_UP:
        words.append(
            f"at import {sequence.import_id}, position {sequence.position}; a node that is ready has import "
            f"{behind.import_id}, position {behind.position}"
        )
    return "; ".join(words)


def of_state(action: StateChanged) -> None:
    logger.info("%s: was %s, is %s", action.why, action.before.name, action.after.name)


def of_promotion(action: Promoted) -> None:
    logger.info("primary in epoch %d", action.epoch)


def of_demotion(action: Demoted) -> None:
    logger.info("no longer primary: %s", action.reason)


def of_need(action: FindBase) -> None:
    logger.info("looks for a snapshot or an import: %s", action.reason)


def of_watches(action: EndWatches) -> None:
    logger.debug("watches end: %s", action.reason)
