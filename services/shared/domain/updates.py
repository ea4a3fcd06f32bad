"""The form of an update: what can be said of it without a tree.

The pusher refuses an update for its form before it takes it; the engine rejects it for the same reasons, in the same
words, wherever it may have come from. An update's own id is the pusher's alone: the engine gives it no meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from google.protobuf.message import Message

from fasttree.v1 import types_pb2
from services.shared.domain.amounts import amount_problem
from services.shared.domain.columns import (
    NAME_FORM,
    TEXT_OBEYED,
    VOLUME_TYPE_FORM,
    column_problem,
    is_column_name,
    is_volume_type,
    obeyed_problem,
    text_problem,
    volume_type_problem,
)
from services.shared.domain.days import PERIOD_FORM, PERIOD_FORMAT, day_problem, is_period
from services.shared.domain.limits import (
    COLUMNS_DECLARED_MAX,
    PERIODS_EVER_MAX,
    PERIODS_MAX,
    REASON_BYTES_MAX,
    SLOTS_MAX,
    UPDATE_BYTES_MAX,
    UPDATE_ID_LENGTH_MAX,
    VOLUME_TYPES_MAX,
)
from services.shared.domain.members import (
    LEG_WITHOUT_PLACEMENT,
    customer_statuses_problem,
    id_problem,
    is_name,
    leg_problem,
    rank_problem,
    status_problem,
)
from services.shared.domain.sentences import is_plain, quoted
from services.shared.domain.thresholds import FIRST_THRESHOLDS, ImportThresholds, thresholds_problem, with_given

UPDATE_ID_FORM: Final = f"update_id must be 1 to {UPDATE_ID_LENGTH_MAX} printable ASCII characters"
NO_CHANGE: Final = (
    "the update holds no change this version knows: set one of member_enrolled, member_changed, member_moved, "
    "member_removed, volume_posted, period_opened, period_closed, volume_type_added, column_declared, "
    "import_thresholds_set, removal_rule_set, customer_rule_set, held_settled"
)
NO_PERIOD: Final = "period is empty: write it as 2026-11"
KIND_FORM: Final = "kind must be MEMBER_KIND_DISTRIBUTOR or MEMBER_KIND_CUSTOMER"
TREE_FORM: Final = "tree must be TREE_SPONSOR or TREE_PLACEMENT"
#: How the ids of what the pusher itself writes into the log begin; nobody else's may.
OWN_ID_PREFIX: Final = "fasttree/"
OWN_ID_FORM: Final = f"update_id must not begin with {OWN_ID_PREFIX}: the pusher's own records do"
RULE_FORM: Final = "{kind} is written by the pusher alone: take it out"
SKIP_FORM: Final = "update_skipped is written by the pusher alone: use `fasttree log skip`"
ERASE_FORM: Final = "member_erased is written by the pusher alone: use `fasttree erase`"
SKIP_REASON_LENGTH_MAX: Final = 200
SKIP_REASON_FORM: Final = f"reason must be 1 to {SKIP_REASON_LENGTH_MAX} printable characters"
MODE_FORM: Final = "mode must be REMOVAL_MODE_COMPRESS or REMOVAL_MODE_LEAVE_EMPTY"
PERSONAL_FORM: Final = "personal: only a column of type text can be personal"
THRESHOLDS_FORM: Final = f"set one of {', '.join(ImportThresholds._fields)}, or more"
ACTION_FORM: Final = "action must be HELD_ACTION_DROP or HELD_ACTION_RETRY"
WHICH_FORM: Final = "name the held updates: set one of position, from 1, and member_id"
VOLUME_FORM: Final = "volume must be REMOVAL_VOLUME_ROLL_UP or REMOVAL_VOLUME_LEAVES"
VOLUME_STAYS: Final = (
    "volume: a place that stays empty keeps its volume; leave it out, or use mode REMOVAL_MODE_COMPRESS"
)

_KINDS = (types_pb2.MEMBER_KIND_DISTRIBUTOR, types_pb2.MEMBER_KIND_CUSTOMER)
_TREES = (types_pb2.TREE_UNSPECIFIED, types_pb2.TREE_SPONSOR, types_pb2.TREE_PLACEMENT)
_MODES = (
    types_pb2.REMOVAL_MODE_UNSPECIFIED,
    types_pb2.REMOVAL_MODE_COMPRESS,
    types_pb2.REMOVAL_MODE_LEAVE_EMPTY,
)
_HELD_ACTIONS = (types_pb2.HELD_ACTION_DROP, types_pb2.HELD_ACTION_RETRY)
_REMOVAL_VOLUMES = (types_pb2.REMOVAL_VOLUME_ROLL_UP, types_pb2.REMOVAL_VOLUME_LEAVES)


def update_problem(update: types_pb2.Update) -> str | None:
    """What makes the update malformed whatever the tree, with the mend; None where nothing does.

    Whether the update fits is asked last, of its encoded length: `size_problem`.
    """
    if problem := update_id_problem(update.update_id):
        return problem
    kind = update.WhichOneof("change")
    return NO_CHANGE if kind is None else pushed_problem(kind, getattr(update, kind))


def update_id_problem(update_id: str) -> str | None:
    """What makes a text no id of a client's update; None where nothing does."""
    if not is_name(update_id, UPDATE_ID_LENGTH_MAX):
        return UPDATE_ID_FORM
    return OWN_ID_FORM if update_id.startswith(OWN_ID_PREFIX) else None


def pushed_problem(kind: str, change: Any) -> str | None:
    """As `change_problem`, of what a client pushes: some of it is the pusher's alone, or is taken no more."""
    if kind in _OWN_KINDS:
        return _OWN_KINDS[kind]
    problem = _PROBLEMS[kind](change)
    if problem is None and kind in _REFUSED_SINCE:
        return _REFUSED_SINCE[kind](change)
    return problem


def order_problem(order: types_pb2.VolumePosted, *, is_known: bool) -> str | None:
    """As `pushed_problem`, of an order; a million of them a minute are looked at. `is_known`: the rules have its
    volume type and period, so that their form is good."""
    if problem := id_problem(order.member_id):
        return f"member_id: {problem}"
    if problem := amount_problem(order.amount_hundredths):
        return f"amount_hundredths: {problem}"
    if is_known:
        return None
    if (volume_type := order.volume_type) and not is_volume_type(volume_type):
        return f"volume_type: {VOLUME_TYPE_FORM.format(value=quoted(volume_type))}"
    if (period := order.period) and not is_period(period):
        return f"period: {PERIOD_FORMAT.format(value=quoted(period))}"
    return None


def change_problem(kind: str, change: Message) -> str | None:
    """The same of what an update changes, whatever its id. `kind`: the field of Update that holds the change.

    What earlier versions let into their logs passes here: a record keeps its effect.
    """
    return _PROBLEMS[kind](change)


def size_problem(size_bytes: int) -> str | None:
    """What is wrong with an update that takes so many bytes."""
    return None if size_bytes <= UPDATE_BYTES_MAX else f"the update has {size_bytes} bytes, {UPDATE_BYTES_MAX} fit"


def _volume_problem(change: types_pb2.VolumePosted) -> str | None:
    return order_problem(change, is_known=False)


def _enrolled_problem(change: types_pb2.MemberEnrolled) -> str | None:
    member_id = change.member_id
    if problem := _ids_problem(member_id, sponsor_id=change.sponsor_id, placement_id=change.placement_id):
        return problem
    if (kind := change.kind) and kind not in _KINDS:
        return KIND_FORM
    if leg := change.placement_leg:
        if not change.placement_id:
            return f"placement_leg: {LEG_WITHOUT_PLACEMENT}"
        if problem := leg_problem(leg):
            return f"placement_leg: {problem}"
    return _profile_problem(change.status, change.rank, change.joined_on) or columns_problem(change)


def _changed_problem(change: types_pb2.MemberChanged) -> str | None:
    if problem := id_problem(change.member_id):
        return f"member_id: {problem}"
    if change.HasField("kind") and change.kind not in _KINDS:
        return KIND_FORM
    return _profile_problem(change.status, change.rank, change.joined_on) or columns_problem(change)


def _moved_problem(change: types_pb2.MemberMoved) -> str | None:
    if problem := _ids_problem(change.member_id, new_parent_id=change.new_parent_id):
        return problem
    if change.tree not in _TREES:
        return TREE_FORM
    if leg := change.placement_leg:
        if change.tree != types_pb2.TREE_PLACEMENT or not change.new_parent_id:
            return "placement_leg needs tree TREE_PLACEMENT and a new_parent_id"
        if problem := leg_problem(leg):
            return f"placement_leg: {problem}"
    return None


def _removed_problem(change: types_pb2.MemberRemoved) -> str | None:
    if problem := id_problem(change.member_id):
        return f"member_id: {problem}"
    if change.mode not in _MODES:
        return MODE_FORM
    if volume := change.volume:
        if volume not in _REMOVAL_VOLUMES:
            return VOLUME_FORM
        if change.mode == types_pb2.REMOVAL_MODE_LEAVE_EMPTY:
            return VOLUME_STAYS
    return None


def _erased_problem(change: types_pb2.MemberErased) -> str | None:
    problem = id_problem(change.member_id)
    return problem and f"member_id: {problem}"


def skip_reason_problem(reason: str) -> str | None:
    """What makes a text no reason to skip an update; None where nothing does."""
    return None if 0 < len(reason) <= SKIP_REASON_LENGTH_MAX and is_plain(reason) else SKIP_REASON_FORM


def _skipped_problem(change: types_pb2.UpdateSkipped) -> str | None:
    if not change.position:
        return "position must be that of an update"
    if len(change.skipped_update_id) > UPDATE_ID_LENGTH_MAX:
        return f"skipped_update_id must have at most {UPDATE_ID_LENGTH_MAX} characters"
    return skip_reason_problem(change.reason)


def _settled_problem(change: types_pb2.HeldSettled) -> str | None:
    if change.action not in _HELD_ACTIONS:
        return ACTION_FORM
    if change.WhichOneof("which") == "member_id":
        if problem := id_problem(change.member_id):
            return f"member_id: {problem}"
    elif not change.position:
        return WHICH_FORM
    problem = reason_problem(change.reason)
    return f"reason: {problem}" if problem else None


def reason_problem(reason: str) -> str | None:
    """What is wrong with the reason that somebody gives for a decision."""
    if not reason.strip():
        return "say why, in a few words"
    if (size := len(reason.encode())) > REASON_BYTES_MAX:
        return f"it has {size} bytes, {REASON_BYTES_MAX} fit"
    return None if reason.isprintable() else "write it as one line, of characters that can be seen"


def _ids_problem(member_id: str, **above: str) -> str | None:
    """Of the member, and of those that it goes below, each of whom may be nobody but not the member itself."""
    if problem := id_problem(member_id):
        return f"member_id: {problem}"
    for field, above_id in above.items():
        if above_id and (problem := id_problem(above_id)):
            return f"{field}: {problem}"
        if above_id == member_id:
            return f"{field} is the member itself"
    return None


def _profile_problem(status: str, rank: int, joined_on: str) -> str | None:
    if status and (problem := status_problem(status)):
        return f"status: {problem}"
    if rank and (problem := rank_problem(rank)):
        return f"rank: {problem}"
    if joined_on and (problem := day_problem(joined_on)):
        return f"joined_on: {problem}"
    return None


def columns_problem(change: types_pb2.MemberEnrolled | types_pb2.MemberChanged) -> str | None:
    """What is wrong with the further columns that it brings, whatever a tree has."""
    columns: Mapping[str, str] = change.columns
    if not columns:
        return None
    # Before they are looked at: a million columns would hold up everyone else.
    if problem := size_problem(change.ByteSize()):
        return problem
    # In an order: a map has none, and every node must give the same reason.
    for name, text in sorted(columns.items()):
        if not is_column_name(name):
            return f"a column named {quoted(name)}: it needs {NAME_FORM}"
        if problem := text_problem(text):
            return f"column {name}: {problem}"
    return None


def _period_problem(change: types_pb2.PeriodOpened | types_pb2.PeriodSealed) -> str | None:
    if not change.period:
        return NO_PERIOD
    return None if is_period(change.period) else f"period: {PERIOD_FORM.format(value=quoted(change.period))}"


def _closed_problem(change: types_pb2.PeriodClosed) -> str | None:
    if problem := _period_problem(types_pb2.PeriodSealed(period=change.period)):
        return problem
    problem = day_problem(change.late_until)
    return problem and f"late_until: {problem}"


def _type_problem(change: types_pb2.VolumeTypeAdded) -> str | None:
    if is_volume_type(change.volume_type):
        return None
    return f"volume_type: {VOLUME_TYPE_FORM.format(value=quoted(change.volume_type))}"


def _obeyed_problem(change: types_pb2.MemberEnrolled | types_pb2.MemberChanged) -> str | None:
    """Of further columns whose form is good otherwise. It shows no text: the answer may stand in logs, and a column may
    be personal."""
    for name, text in change.columns.items():
        if obeyed_problem(text):
            return f"column {name}: {TEXT_OBEYED.format(value='the text')}"
    return None


def _new_type_problem(change: types_pb2.VolumeTypeAdded) -> str | None:
    problem = volume_type_problem(change.volume_type)
    return problem and f"volume_type: {problem}"


def _declared_problem(change: types_pb2.ColumnDeclared) -> str | None:
    if problem := column_problem(change.name, change.type):
        return problem
    return PERSONAL_FORM if change.personal and change.type != "text" else None


def _thresholds_problem(change: types_pb2.ImportThresholdsSet) -> str | None:
    return thresholds_problem(with_given(FIRST_THRESHOLDS, change)) if change.ListFields() else THRESHOLDS_FORM


def _removal_problem(change: types_pb2.RemovalRuleSet) -> str | None:
    return None if change.volume in _REMOVAL_VOLUMES else VOLUME_FORM


def _customers_problem(change: types_pb2.CustomerRuleSet) -> str | None:
    problem = customer_statuses_problem(change.statuses)
    return problem and f"statuses: {problem}"


def _raised_problem(change: types_pb2.RuleVersionRaised) -> str | None:
    return None if change.version else "version must be that of a later meaning of updates"


def _founded_problem(change: types_pb2.RulesFounded) -> str | None:
    rules = change.rules
    types, opened = rules.volume_types, rules.open_periods
    late = [each.period for each in rules.late_periods]
    periods = (*opened, *late, *rules.sealed_periods)
    if not rules.version or not types or not opened:
        return "rules need a version, a volume type and an open period"
    if not all(map(is_volume_type, types)) or len({each.lower() for each in types}) < len(types):
        return "rules.volume_types: one is none, or stands there twice"
    if not all(map(is_period, periods)) or len(set(periods)) < len(periods) or rules.current_period not in opened:
        return "rules: a period is none, or stands there twice, or the current one is not open"
    if any(not each.late_until or day_problem(each.late_until) for each in rules.late_periods):
        return "rules.late_periods: a day is none"
    columns = [each.name.lower() for each in rules.columns]
    named = [*columns, *map(str.lower, types)]
    if any(map(_declared_problem, rules.columns)) or len(set(named)) < len(named):
        return "rules.columns: one is none, or has the name of another one or of a volume type"
    problem = rules.HasField("import_thresholds") and _thresholds_problem(rules.import_thresholds)
    if problem or (rules.removal_volume and rules.removal_volume not in _REMOVAL_VOLUMES):
        return f"rules.import_thresholds: {problem}" if problem else f"rules.removal_volume: {VOLUME_FORM}"
    if problem := customer_statuses_problem(rules.customer_statuses):
        return f"rules.customer_statuses: {problem}"
    active = len(opened) + len(late)
    fits = len(types) <= VOLUME_TYPES_MAX and active <= PERIODS_MAX and len(periods) <= PERIODS_EVER_MAX
    fits = fits and len(types) * active <= SLOTS_MAX and len(columns) <= COLUMNS_DECLARED_MAX
    return None if fits else "rules: more volume types, periods or columns than fit"


_PROBLEMS: dict[str, Callable[[Any], str | None]] = {
    "volume_posted": _volume_problem,
    "period_opened": _period_problem,
    "period_closed": _closed_problem,
    "period_sealed": _period_problem,
    "volume_type_added": _type_problem,
    "column_declared": _declared_problem,
    "import_thresholds_set": _thresholds_problem,
    "removal_rule_set": _removal_problem,
    "customer_rule_set": _customers_problem,
    "rules_founded": _founded_problem,
    "rule_version_raised": _raised_problem,
    "member_enrolled": _enrolled_problem,
    "member_changed": _changed_problem,
    "member_moved": _moved_problem,
    "member_removed": _removed_problem,
    "update_skipped": _skipped_problem,
    "held_settled": _settled_problem,
    "member_erased": _erased_problem,
}
#: What is refused at the door alone, since earlier versions took it.
_REFUSED_SINCE: dict[str, Callable[[Any], str | None]] = {
    "member_enrolled": _obeyed_problem,
    "member_changed": _obeyed_problem,
    "volume_type_added": _new_type_problem,
}
#: What a client that pushes a change of the pusher's own is told.
_OWN_KINDS: dict[str, str] = {
    "update_skipped": SKIP_FORM,
    "member_erased": ERASE_FORM,
    **{kind: RULE_FORM.format(kind=kind) for kind in ("rules_founded", "rule_version_raised", "period_sealed")},
}
