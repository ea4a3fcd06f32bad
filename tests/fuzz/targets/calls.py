"""What is in a message: requests of every RPC of reports, pushed updates, records of the log, page tokens."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from fasttree.v1 import pusher_pb2, report_pb2, treenode_pb2, types_pb2
from services.pusher.admission.messages import batch_of
from services.shared.domain.sentences import is_plain
from services.shared.serving.errors import FastTreeError, InvalidArgumentError
from services.shared.wire.record import checked_contents, encode_frames
from services.treenode.reports import ReportServicer
from services.treenode.reports.plan.page_tokens import PageKey, page_token, read_page_token
from services.treenode.tree import Tree, UpdateFailedError
from tests.fuzz.target import Run, Target
from tests.treenode.reports.conftest import SteeredNode
from tests.treenode.tree.judge import CONFIG, naive_tree, tree_of
from tests.treenode.tree.naive import Place

_DIGEST = bytes(12)


def small_tree() -> Tree:
    """Some members in two lines."""
    naive = naive_tree()
    naive.places.update(
        A=Place(volumes={("PV", "2026-11"): 100}),
        B=Place(sponsor="A", placement="A", leg=1, rank=2, joined_on="2026-11-03"),
        C=Place(sponsor="B", placement="B", columns={"city": "Oslo", "team": "7"}, status="ACTIVE"),
        D=Place(sponsor="A", placement="A", leg=2, columns={"city": "Bergen"}),
    )
    return tree_of(naive)


class _Context:
    """What a handler asks of its call."""

    def time_remaining(self) -> float | None:
        return 0.05

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    def cancelled(self) -> bool:
        return False


#: Each RPC of reports, and its request.
_REPORTS = sorted(
    (method.name, getattr(report_pb2, method.input_type.name))
    for method in report_pb2.DESCRIPTOR.services_by_name["ReportService"].methods
)


def _reports() -> Run:
    loop = asyncio.new_event_loop()

    async def made() -> ReportServicer:
        return ReportServicer(SteeredNode(small_tree()))

    servicer = loop.run_until_complete(made())

    async def ask(name: str, request: Any) -> None:
        answer = getattr(servicer, name)(request, _Context())
        if inspect.isasyncgen(answer):
            async for _ in answer:
                pass
        else:
            await answer

    def run(data: bytes) -> None:
        if not data:
            return
        name, kind = _REPORTS[data[0] % len(_REPORTS)]
        servicer.member_at_once(data[1:])
        request = kind.FromString(data[1:])
        loop.run_until_complete(ask(name, request))

    return run


def _asked() -> list[bytes]:
    columns = report_pb2.ReportOptions(columns=["city", "pv"])
    given: dict[str, Any] = {
        "member_id": "A",
        "root_member_id": "A",
        "options": columns,
        "prefix": "A",
        "text": "A",
        "page_size": 2,
        "limit": 3,
    }
    found = []
    for place, (_, kind) in enumerate(_REPORTS):
        fields = kind.DESCRIPTOR.fields_by_name
        known = {name: value for name, value in given.items() if name in fields}
        try:
            found.append(bytes((place,)) + kind(**known).SerializeToString())
        except (TypeError, ValueError):
            found.append(bytes((place,)))
    return found


def _pushed() -> Run:
    def run(data: bytes) -> None:
        request = pusher_pb2.PushUpdatesRequest.FromString(data)
        batch = batch_of(request, CONFIG)
        assert all(is_plain(each.problem) for each in batch.malformed.values())
        tree = small_tree()
        # As the log has them, and as a pusher of another version might.
        for update in [*map(types_pb2.Update.FromString, batch.contents), *request.updates]:
            try:
                tree.apply(tree.position + 1, [update])
            except UpdateFailedError as error:
                if error.fault_position or not error.is_whole:
                    raise
                break  # of a newer version: the tree stops before it, as it was
        tree.validate()

    return run


def _update(text: str) -> types_pb2.Update:
    return json_format.Parse(text, types_pb2.Update())


def _updates() -> list[bytes]:
    updates = [
        _update(
            '{"update_id": "u1", "volume_posted": '
            '{"member_id": "A", "volume_type": "PV", "amount_hundredths": 150, "period": "2026-11"}}'
        ),
        _update('{"update_id": "u2", "member_enrolled": {"member_id": "E", "sponsor_id": "A"}}'),
        _update('{"update_id": "u3", "member_moved": {"member_id": "C", "new_parent_id": "A", "tree": 1}}'),
        _update('{"update_id": "u4", "member_removed": {"member_id": "C"}}'),
        _update('{"update_id": "u5", "period_opened": {"period": "2026-12"}}'),
        _update('{"update_id": "u6", "rule_version_raised": {"version": 1000}}'),
    ]
    batches = [[each] for each in updates] + [updates]
    return [pusher_pb2.PushUpdatesRequest(updates=each).SerializeToString() for each in batches]


def _records() -> Run:
    def run(data: bytes) -> None:
        request = treenode_pb2.ApplyUpdatesRequest.FromString(data)
        positions, contents, _ = checked_contents(request.records)
        assert len(positions) == len(contents)
        for content in contents:
            types_pb2.Update.FromString(content)

    return run


def _tokens() -> Run:
    def run(data: bytes) -> None:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return
        key = read_page_token(text, _DIGEST)
        assert page_token(key, _DIGEST) == text

    return run


def _token_contents() -> Run:
    """What is behind the check, which whoever knows how it is made can write."""

    def run(data: bytes) -> None:
        text, _, member_id = data.partition(b"\0")
        number = int.from_bytes(text[:8], "big", signed=True) if len(text) > 8 else None
        try:
            key = PageKey(number, text.decode()[:200], member_id.decode()[:40])
        except UnicodeDecodeError:
            return
        assert read_page_token(page_token(key, _DIGEST), _DIGEST) == key

    return run


TARGETS = [
    Target("calls.report-calls", _reports, (FastTreeError, DecodeError), _asked, 1_024),
    Target("calls.pushed-updates", _pushed, (DecodeError,), _updates, 2_048),
    Target(
        "calls.log-records",
        _records,
        (DecodeError,),
        lambda: [b"".join(encode_frames(7, [types_pb2.Update(update_id="u").SerializeToString(), b""]))],
    ),
    Target(
        "calls.page-tokens",
        _tokens,
        (InvalidArgumentError,),
        lambda: [page_token(PageKey(7, "Oslo", "A"), _DIGEST).encode()],
        512,
    ),
    Target(
        "calls.page-token-contents",
        _token_contents,
        (InvalidArgumentError,),
        lambda: [b"Oslo\0A", bytes(9) + b"\0B"],
        256,
    ),
]
