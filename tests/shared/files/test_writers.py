"""Who writes, renames or removes a file: `services/shared/files`, and those who are listed here with their reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = ("services", "client/fasttree")
#: The home of every file that lasts.
HOME = "services/shared/files/"

_MEMORY = "memory that two processes share: no disk under it"
_SAMPLES = "short files in a folder that goes with the process"
_DEBUG_LOG = "a debug log: a lost end is no loss, and no line may wait for a disk"
_STATE = "a state's own order: its first bytes last, after an fsync of all else; takes its name by `replace_durably`"
_RUN = "a run's own order, columns side by side, in a file of `writing_durably`"
_SPANS = "traces for whoever looks on: a lost end is no loss, and no update may wait for a disk"
_AUDIT = "files that grow by lines, each with an fsync of its own; what a crash cut off stays in the chain of hashes"
_RECEIPTS = "a `.part` that grows with the receipts; its own fsync, then it takes its name by `replace_durably`"
_LETTERS = "a file that grows by lines, each with an fsync of its own; what a crash cut off is taken away at the start"
_ASKED_AGAIN = "a report as a file, whole or not there: made anew by asking again"
_LOCK = "who has a job's lock, for people: what counts is the kernel's, which ends with the process"
_PACKED = "a part of whoever has it packed, with an fsync of its own; takes its name by `replace_durably`"
_TRIED = "whether a folder can be written: nothing of it stays"
_SQLITE = "SQLite's own files: it does its own fsyncs"

#: "path:what" to the reason.
LISTED = {
    "services/pusher/log/disk/end_mark.py:os.open": "the end mark costs a microsecond a commit, for want of an fsync",
    "services/pusher/log/disk/end_mark.py:pwrite": "as above: after a power failure it is older than the log",
    "services/pusher/log/inspection.py:connect": _SQLITE,
    "services/pusher/backups/backups.py:connect": _SQLITE,
    "services/pusher/log/disk/database.py:connect": _SQLITE,
    "services/pusher/log/disk/wal_checkpointer.py:connect": _SQLITE,
    "services/shared/personal/vault.py:connect": _SQLITE,
    "services/shared/personal/needed.py:connect": _SQLITE,
    "services/shared/personal/beside.py:unlink": "SQLite's own, empty: of one who was killed",
    "services/pusher/log/ids/runs.py:ftruncate": _RUN,
    "services/pusher/backups/backups.py:rmtree": "what was begun by a restore that did not end: made anew",
    "services/pusher/log/jetstream/index.py:rmtree": "an index that is made anew whenever the log is opened",
    "services/coordinator/stores/sqlite.py:connect": _SQLITE,
    "services/coordinator/stores/lease_store.py:replace": "no file: what is kept in an API server or in etcd",
    "services/pusher/moving/moving.py:TemporaryDirectory": "for the end mark of a copy, which is elsewhere",
    "services/pusher/moving/source.py:connect": _SQLITE,
    "client/fasttree/command/machines/keeping.py:rmtree": "the state of a machine that is to come back empty",
    "services/shared/config/paths.py:os.open": _TRIED,
    "services/shared/config/paths.py:mkdtemp": _TRIED,
    "services/shared/config/paths.py:rmdir": _TRIED,
    "services/console/api/members.py:open": "no file: reports under way",
    "services/console/app.py:open": "no file: reports under way",
    "services/console/api/exports.py:TemporaryDirectory": "a workbook until it is sent: made anew by asking again",
    "services/shared/telemetry/sinks/span_file.py:os.open": _SPANS,
    "services/shared/telemetry/sinks/span_file.py:replace": _SPANS,
    "services/shared/telemetry/sinks/span_file.py:write": _SPANS,
    "services/shared/security/audit/chain.py:write": _AUDIT,
    "services/shared/security/audit/chain.py:ftruncate": _AUDIT,
    "services/shared/security/audit/chain.py:pwrite": "the newest hash: after a power failure it may be older",
    "services/shared/security/audit/chain.py:fsync": _AUDIT,
    "services/shared/security/audit/chain.py:fdatasync": _AUDIT,
    "services/shared/security/audit/chain.py:unlink": "the oldest file, which has had its time; it may come back",
    "services/shared/security/audit/log.py:open": "no file: a chain of them",
    "services/shared/security/audit/log.py:makedirs": "an audit log's folder: made anew with its files",
    "services/shared/security/identity.py:write": "memory, which the process alone can name",
    "services/treenode/snapshots/state_file.py:ftruncate": _STATE,
    "services/treenode/snapshots/state_file.py:fsync": _STATE,
    "services/treenode/snapshots/state_file.py:pwrite": _STATE,
    "services/treenode/snapshots/state_writing.py:fsync": _STATE,
    "services/treenode/snapshots/background_write.py:pwrite": _STATE,
    "services/treenode/snapshots/background_write.py:fdatasync": _STATE,
    "services/treenode/snapshots/background_write.py:open": "/dev/null, for the kernel to be compiled",
    "services/treenode/snapshots/background_send.py:open": "/dev/null, for the kernel to be compiled",
    "services/treenode/replication/applying_mark.py:open": "mapped memory that outlives its process, not the machine",
    "services/treenode/replication/applying_mark.py:truncate": "as above: with the power gone nobody died of an update",
    "services/treenode/imports/reading/table_memory.py:ftruncate": _MEMORY,
    "services/treenode/imports/reading/table_memory.py:pwrite": _MEMORY,
    "client/fasttree/command/bundle/commands.py:open": "no file: an archive in memory",
    "client/fasttree/command/port_forwards.py:TemporaryFile": "what kubectl says, for as long as the command runs",
    "client/fasttree/command/session.py:TemporaryDirectory": "an endpoints file for as long as the command runs",
    "client/fasttree/command/datatrax/bonus_export.py:open": _ASKED_AGAIN,
    "client/fasttree/command/datatrax/bonus_export.py:fsync": _ASKED_AGAIN,
    "client/fasttree/command/datatrax/bonus_export.py:replace": _ASKED_AGAIN,
    "client/fasttree/command/datatrax/bonus_export.py:unlink": _ASKED_AGAIN,
    "client/fasttree/command/datatrax/bonus_export.py:write_text": _ASKED_AGAIN,
    "services/datatrax/jobs/lock.py:os.open": _LOCK,
    "services/datatrax/jobs/lock.py:pwrite": _LOCK,
    "services/datatrax/jobs/lock.py:ftruncate": _LOCK,
    "services/datatrax/jobs/outgoing.py:link": "a second name, which says whose file it is; its folder's fsync follows",
    "services/shared/packing/writing.py:open": _PACKED,
    "services/shared/packing/zip_archive.py:open": "what is in an archive, to be read",
    "services/shared/packing/writing.py:fsync": _PACKED,
    "services/datatrax/spool/folder.py:open": _RECEIPTS,
    "services/datatrax/spool/folder.py:fsync": _RECEIPTS,
    "services/datatrax/messages/journal.py:connect": _SQLITE,
    "services/datatrax/messages/senders/spool.py:os.open": _LETTERS,
    "services/datatrax/messages/senders/spool.py:ftruncate": _LETTERS,
    "services/datatrax/messages/senders/spool.py:fsync": _LETTERS,
    "services/datatrax/messages/senders/spool.py:write": _LETTERS,
    "services/datatrax/messages/senders/spool.py:truncate": _LETTERS,
    "services/datatrax/messages/senders/spool.py:open": _LETTERS,
    "services/shared/serving/calls.py:open": "no file: how many calls are under way",
    "services/shared/serving/connections.py:open": "no file: how many connections there are",
    "services/shared/serving/http2/server.py:open": "as above",
    "services/shared/serving/metrics.py:open": "as above",
    "services/shared/serving/streams.py:open": "no file: a stream to a server",
    "services/treenode/imports/checking/refused_rows.py:open": "what somebody looks at: made anew by asking again",
    "services/treenode/imports/sample_imports.py:write_text": _SAMPLES,
    "services/treenode/imports/sample_imports.py:write_bytes": _SAMPLES,
    "services/treenode/imports/process.py:TemporaryDirectory": _SAMPLES,
    "services/treenode/kernels/warm_up.py:TemporaryDirectory": _SAMPLES,
    "services/treenode/kernels/warm_up.py:write_table": _SAMPLES,
    "services/treenode/tree/kernels/kernel_cache.py:mkdir": "Numba's own files: made anew where they are lost",
    "services/treenode/tree/kernels/kernel_cache.py:TemporaryFile": "whether the folder can be written",
    "services/treenode/imports/checking/check.py:TemporaryDirectory": _SAMPLES,
    "services/shared/mapping/parquet.py:copyfile": "as the next",
    "services/shared/mapping/canonical.py:open": "part of an upload, which is made durable when it is whole",
    "services/pusher/imports/files.py:fsync": "a part that another process has rewritten: made durable before its name",
    "services/treenode/kernels/parallel.py:open": "no file: a lock",
    "services/treenode/tree/kernels/kernel_cache.py:open": "no file: a lock",
    "services/treenode/kernels/warm_up.py:touch": "says that the cache is full; without it, that is looked at again",
    "services/shared/debug/debug_log.py:mkdir": _DEBUG_LOG,
    "services/shared/debug/debug_log.py:open": _DEBUG_LOG,
    "services/shared/debug/debug_log.py:replace": _DEBUG_LOG,
    "client/fasttree/client/endpoints.py:mkstemp": "in one step, but for the life of the processes that it names",
    "client/fasttree/client/endpoints.py:os.fdopen": "as above",
    "client/fasttree/client/endpoints.py:replace": "as above",
    "client/fasttree/client/endpoints.py:unlink": "as above",
    "client/fasttree/command/local/supervisor.py:mkdir": _DEBUG_LOG,
    "client/fasttree/command/local/supervisor.py:open": _DEBUG_LOG,
    "client/fasttree/command/local/supervisor.py:replace": _DEBUG_LOG,
    "client/fasttree/command/local/import_sample.py:mkdir": "made anew at each start until it has been imported",
    "client/fasttree/command/local/import_sample.py:write_text": "as above",
    "client/fasttree/command/main.py:os.open": "/dev/null, in the place of a reader that went away",
}

#: Methods of paths and functions of modules that change a file or a folder, by names that nothing else has.
_CHANGES = {
    *("write_bytes", "write_text", "rename", "renames", "unlink", "rmdir", "removedirs", "mkdir", "makedirs"),
    *("hardlink_to", "symlink_to", "symlink", "truncate", "ftruncate", "pwrite", "pwritev", "fsync", "fdatasync"),
    *("posix_fallocate", "sendfile", "copyfile", "copyfileobj", "copy2", "copytree", "rmtree", "mkstemp", "mkdtemp"),
    *("NamedTemporaryFile", "TemporaryFile", "TemporaryDirectory", "SpooledTemporaryFile", "write_table", "tofile"),
    *("memmap", "savez"),
}
#: What else these modules' functions of these names do, is something else.
_OF_MODULES = {"os": {"remove", "link", "write", "writev", "mknod"}, "shutil": {"copy", "move"}}
_OPENING_FLAGS = {"O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND", "O_TMPFILE"}


def changes_of_files(text: str) -> Iterator[tuple[str, int]]:
    """What a program does to files, and in which line. References count as calls: a thread may be given them."""
    tree = ast.parse(text)
    called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            what = _attribute(node, called.get(id(node)))
        elif isinstance(node, ast.Name):
            what = _name(node, called.get(id(node)))
        else:
            continue
        if what:
            yield what, node.lineno


def _attribute(node: ast.Attribute, call: ast.Call | None) -> str:
    module = node.value.id if isinstance(node.value, ast.Name) else ""
    if node.attr in _CHANGES or node.attr in _OF_MODULES.get(module, ()):
        return node.attr
    if node.attr == "touch" and call and not call.args:  # the engine touches memory, which it names
        return "touch"
    if node.attr == "connect":
        return "connect" if module == "sqlite3" else ""
    if node.attr == "ExternalFunction":
        return _external(call)
    if node.attr == "replace":
        # Texts and structs are replaced too, with other arguments.
        of_a_path = call is None or (len(call.args) == 1 and not call.keywords)
        return "replace" if module == "os" or of_a_path else ""
    if module == "os" and node.attr == "open":
        flags = {part.attr for each in (call.args[1:] if call else ()) for part in _attributes(each)}
        return "os.open" if flags & _OPENING_FLAGS or call is None else ""
    if module == "os" and node.attr == "fdopen":
        return "os.fdopen" if _writes(call, 1) else ""
    if node.attr == "open":
        return "open" if _writes(call, 1 if module == "io" else 0) else ""
    return ""


def _name(node: ast.Name, call: ast.Call | None) -> str:
    if node.id == "open":
        return "open" if _writes(call, 1) else ""
    return node.id if node.id in _CHANGES - {"unlink"} else ""  # the tree's kernel unlinks seats


def _external(call: ast.Call | None) -> str:
    name = call.args[0] if call and call.args else None
    return name.value if isinstance(name, ast.Constant) and name.value in _CHANGES else ""


def _attributes(node: ast.expr) -> Iterator[ast.Attribute]:
    return (part for part in ast.walk(node) if isinstance(part, ast.Attribute))


def _writes(call: ast.Call | None, place: int) -> bool:
    """Whether the mode at that place of the arguments writes; one that can't be read from the program does."""
    if call is None:
        return True
    named = [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    modes = named or call.args[place : place + 1]
    return any(not isinstance(mode, ast.Constant) or bool(set(str(mode.value)) & set("wax+")) for mode in modes)


def test_files_are_changed_in_one_place() -> None:
    found: dict[str, list[int]] = {}
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            path = file.relative_to(ROOT).as_posix()
            if not path.startswith(HOME):
                for what, line in changes_of_files(file.read_text()):
                    found.setdefault(f"{path}:{what}", []).append(line)
    others = {name: lines for name, lines in found.items() if name not in LISTED}
    assert others == {}, "use services.shared.files.durable, or list it above with the reason why it need not last"
    assert set(LISTED) - set(found) == set(), "these are gone: take their lines away"


@pytest.mark.parametrize(
    ("text", "whats"),
    [
        ("path.write_text('x')", ["write_text"]),
        ("asyncio.to_thread(part.rename, path)", ["rename"]),
        ("asyncio.to_thread(part.replace, path)", ["replace"]),
        ("path.replace(target); os.replace(a, b); text.replace('a', 'b'); now.replace(hour=1)", ["replace", "replace"]),
        ("open(path); open(path, 'rb'); path.open(); path.open('rb')", []),
        ("open(path, 'w'); path.open('ab'); path.open(mode='r+'); path.open(mode)", ["open"] * 4),
        ("os.open(path, os.O_RDONLY); os.open(path, os.O_RDWR | os.O_CREAT)", ["os.open"]),
        ("os.fdopen(handle); os.fdopen(handle, 'w')", ["os.fdopen"]),
        ("from os import fsync\nfsync(1)", ["fsync"]),
        ("os.write(1, b''); stream.write(b''); shutil.move(a, b); thing.move(b)", ["write", "move"]),
        ("types.ExternalFunction('pwrite', types.int64()); types.ExternalFunction('nice')", ["pwrite"]),
        ("sqlite3.connect(path); socket.connect(address)", ["connect"]),
        ("unlink(tree, seat); path.unlink(); path.touch(); warm.touch(array)", ["unlink", "touch"]),
    ],
)
def test_what_counts_as_a_change(text: str, whats: list[str]) -> None:
    assert [what for what, _ in sorted(changes_of_files(text), key=lambda found: found[1])] == whats
