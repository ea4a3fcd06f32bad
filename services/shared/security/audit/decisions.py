"""Which calls are written down, and what of them: nothing that tells of a member, and no secret.

Every call of the API has its line here, as it has in `roles.py`; a test says so
(`tests/shared/security/audit/test_decisions.py`).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

_COORDINATOR: Final = "/fasttree.v1.CoordinatorService/"
_PUSHER: Final = "/fasttree.v1.PusherService/"
_NODE: Final = "/fasttree.v1.TreeNodeService/"
_REPORTS: Final = "/fasttree.v1.ReportService/"
_MESSAGES: Final = "/fasttree.v1.MessageService/"


class Operation(NamedTuple):
    """A call that changes something for all: written down before it is done and once it is over, or not done."""

    #: What of its request, and of its answer, is written down: fields, by a path of names.
    asked: tuple[str, ...] = ()
    answered: tuple[str, ...] = ()


#: A manifest of an import.
_IMPORT: Final = ("manifest.import_id", "manifest.as_of_position", "manifest.file_name", "manifest.force")
_MESSAGE: Final = ("status.message.message_id", "status.state")

OPERATIONS: Final[dict[str, Operation]] = {
    f"{_COORDINATOR}Switchover": Operation(("to_node",), ("from_node", "to_node", "epoch")),
    f"{_COORDINATOR}SwitchoverPusher": Operation(("to_pusher",), ("from_pusher", "to_pusher", "epoch")),
    f"{_COORDINATOR}Pause": Operation(),
    f"{_COORDINATOR}Resume": Operation(),
    f"{_PUSHER}UploadImport": Operation((), _IMPORT),
    f"{_PUSHER}RollbackImport": Operation((), _IMPORT),
    f"{_PUSHER}SkipUpdate": Operation(("position", "reason", "force"), ("position",)),
    f"{_PUSHER}EraseMember": Operation((), ("position", "values")),
    f"{_PUSHER}AdoptLog": Operation(("reason",), ("log_id",)),
    f"{_MESSAGES}SendMessage": Operation(("message.message_id", "message.channel"), ("duplicate", "status.state")),
    f"{_MESSAGES}PauseMessage": Operation(("message_id",), _MESSAGE),
    f"{_MESSAGES}ResumeMessage": Operation(("message_id",), _MESSAGE),
    f"{_MESSAGES}CancelMessage": Operation(("message_id",), _MESSAGE),
    f"{_MESSAGES}ResendDeadLetters": Operation(("message_id",), ("letters",)),
    f"{_MESSAGES}SetOptOuts": Operation(("channel", "opted_in"), ("changed",)),
}

#: Written down only where it is refused, each for its reason.
_READS: Final = "it changes nothing"
_MACHINES: Final = "the parts' own work, all the time: what comes of it is in the log of updates and in the epochs"
NOT_WRITTEN: Final[dict[str, str]] = {
    f"{_COORDINATOR}KeepAlive": _MACHINES,
    f"{_COORDINATOR}KeepPusher": _MACHINES,
    f"{_COORDINATOR}VouchPrimary": _MACHINES,
    f"{_COORDINATOR}WatchCluster": _READS,
    f"{_COORDINATOR}GetCluster": _READS,
    "/fasttree.v1.ImportSourceService/DownloadImport": _MACHINES,
    f"{_PUSHER}PushUpdates": "updates stand in the log; those that change the rules are written down one by one "
    "(services/pusher/admission/auditing.py)",
    f"{_PUSHER}WatchImport": _READS,
    f"{_PUSHER}GetImportProfile": _READS,
    f"{_PUSHER}GetPusher": _READS,
    f"{_PUSHER}ReadLog": _READS,
    f"{_PUSHER}GetErasure": _READS,
    f"{_PUSHER}ReadPersonal": _MACHINES,
    f"{_NODE}ApplyUpdates": _MACHINES,
    f"{_NODE}LoadImport": _MACHINES,
    f"{_NODE}DownloadSnapshot": _MACHINES,
    **{f"{_NODE}{call}": _READS for call in ("GetNode", "GetUpdateFate", "GetDigest", "ListLegDigests")},
    **{
        f"{_REPORTS}{call}": _READS
        for call in (
            "GetMember", "BatchGetMembers", "ListUpline", "ListFrontLine", "SummarizeDownline", "ListDownline",
            "StreamDownline", "SearchMembers", "ListHoldingTank", "ListHeldUpdates", "ListRejectedUpdates",
            "DescribeTree",
        )
    },
    **{
        f"{_MESSAGES}{call}": _READS
        for call in ("PreviewMessage", "GetMessage", "ListMessages", "ListDeadLetters", "ListOptOuts")
    },
}  # fmt: skip


def told_of(message: Any, fields: tuple[str, ...], prefix: str = "") -> dict[str, str | int | float | bool]:
    """What of a message is written down, by the last of a field's names; what is empty is left out."""
    told: dict[str, str | int | float | bool] = {}
    for field in fields:
        value = message
        for name in field.split("."):
            value = getattr(value, name)
        if value:
            told[prefix + field.rpartition(".")[2]] = value if isinstance(value, str | int | float) else str(value)
    return told


#: Fields that say which member.
_OF_MEMBERS: Final = ("member_id", "member_ids")


def scalars_of(message: Any) -> dict[str, str | int | float | bool]:
    """All of a message that is no list, no other message and no member."""
    return {
        field.name: value if isinstance(value, str | int | float) else str(value)
        for field, value in message.ListFields()
        if isinstance(value, str | int | float | bool) and field.name not in _OF_MEMBERS
    }
