"""The client: one object for a cluster.

async with Client.from_endpoints_file(Path(".demo/endpoints.json")) as client:
    async for receipt in client.push([update]):
        print(receipt.position)
    answer = await client.reports.get_member("7")
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import grpc

from fasttree.client.calls.channels import Channels, InNameOf
from fasttree.client.calls.retries import Retries, seconds, with_retries
from fasttree.client.calls.servers import Servers
from fasttree.client.calls.streams import promptly
from fasttree.client.calls.tls import TlsFiles
from fasttree.client.calls.tokens import TokenFile
from fasttree.client.cluster import get_cluster, watch_cluster
from fasttree.client.endpoints import Endpoints, NodeEndpoint
from fasttree.client.errors import CallError, EndpointsError, call_error
from fasttree.client.imports import Upload, UploadOptions, watch_import
from fasttree.client.messages import Messages
from fasttree.client.push import Push, PushOptions, Updates
from fasttree.client.reports import PositionSeen, Reports
from fasttree.v1 import (
    coordinator_pb2,
    coordinator_pb2_grpc,
    pusher_pb2,
    pusher_pb2_grpc,
    treenode_pb2,
    treenode_pb2_grpc,
    types_pb2,
)

Answer = TypeVar("Answer")

#: What the endpoints file may lack because the cluster has none, and what gives it one.
_WHERE_THERE_IS: Final = {
    "messages": "they are sent where the service for DataTrax has a file of channels, as `fasttree up --datatrax DIR` "
    "has by DIR/channels.toml; where it has, "
}


class Client:
    """Talks to one cluster. Use it as an async context manager, in one event loop.

    With `read_your_writes` every report waits until the node that answers has what this client has pushed so far. With
    `coalesce`, as by default, single members that are asked for at one time are fetched together.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        retries: Retries | None = None,
        read_your_writes: bool = False,
        coalesce: bool = True,
        tls: TlsFiles | None = None,
        token: TokenFile | None = None,
    ) -> None:
        """`tls`: the certificate that this client shows; None: that of the folder FASTTREE_TLS_DIR, or the one that the
        endpoints name, or none. `token`: the one that its calls bring; None: that of FASTTREE_TOKEN_FILE, or the one
        that the endpoints name, or none."""
        self.endpoints = endpoints
        self._retries = retries or Retries()
        self.tls = tls or TlsFiles.of_environment() or endpoints.tls
        self.token = token or TokenFile.of_environment() or endpoints.token
        self._channels = Channels(self.tls, self.token)
        self._seen = PositionSeen(read_your_writes=read_your_writes)
        self._coalesce = coalesce
        self._coordinators: Servers[coordinator_pb2_grpc.CoordinatorServiceAsyncStub] | None = None
        self._pushers: Servers[pusher_pb2_grpc.PusherServiceAsyncStub] | None = None
        #: By address.
        self._reports: dict[str, Reports] = {}

    @classmethod
    def from_endpoints_file(
        cls,
        path: Path | str,
        *,
        retries: Retries | None = None,
        read_your_writes: bool = False,
        coalesce: bool = True,
        tls: TlsFiles | None = None,
        token: TokenFile | None = None,
    ) -> Client:
        """The cluster that an endpoints file names. Raises EndpointsError."""
        endpoints = Endpoints.read(Path(path))
        return cls(
            endpoints, retries=retries, read_your_writes=read_your_writes, coalesce=coalesce, tls=tls, token=token
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes every connection."""
        await self._channels.close()

    # Reports

    @property
    def reports(self) -> Reports:
        """Reports through the VIP."""
        return self._reports_at(self._address("vip"))

    def reports_at(self, node: str | NodeEndpoint) -> Reports:
        """Reports from one node: by its name in the endpoints, or as `nodes` has it. Raises EndpointsError."""
        return self._reports_at((self.endpoints.node(node) if isinstance(node, str) else node).report)

    def in_name_of(self, token: str) -> Client:
        """The same cluster, by the same connections, asked in the name of whoever that token is of: he may do what his
        role may, and sees what his scope shows. It ends with this client, and needs no closing."""
        other = copy.copy(self)
        other._channels = InNameOf(self._channels, token)
        other._seen = PositionSeen(read_your_writes=False)
        other._coalesce = False
        other._coordinators = other._pushers = None
        other._reports = {}
        return other

    @property
    def position(self) -> int:
        """The newest position among this client's receipts."""
        return self._seen.position

    @property
    def messages(self) -> Messages:
        """Messages to downlines. Raises EndpointsError where the endpoints file names no service for them."""
        address = self._address("messages")
        return Messages(self._channels.to(address), address, self._retries)

    # Updates and imports

    async def push(self, updates: Updates, options: PushOptions | None = None) -> AsyncIterator[pusher_pb2.Receipt]:
        """Pushes updates and yields their receipts in order; see fasttree.client.push. Raises a CallError."""
        push = Push(self._pusher(), updates, options or PushOptions(), self._retries)
        async for receipt in push.receipts():
            self._seen.saw(receipt.position)
            yield receipt

    async def upload_import(
        self,
        path: Path,
        options: UploadOptions | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> types_pb2.ImportManifest:
        """Uploads an import file; `progress(sent bytes, bytes)` is called on the way. The rollout follows."""
        upload = Upload(self._pusher(), path, options or UploadOptions(), progress)
        return await upload.run(self._retries)

    async def get_import_profile(self, name: str) -> pusher_pb2.ImportProfile:
        """A profile that is kept beside the pusher. Raises InvalidArgumentError where there is none of that name."""
        request = pusher_pb2.GetImportProfileRequest(name=name)
        answer = await self._ask_pusher(
            "GetImportProfile", lambda stub, left_s: stub.GetImportProfile(request, timeout=left_s)
        )
        return answer.profile

    def watch_import(
        self, import_id: int = 0, *, patience_s: float | None = None
    ) -> AsyncIterator[pusher_pb2.ImportStatus]:
        """An import's rollout (0: the newest) until it is over. Gives up after `patience_s` without a word; None:
        `Retries.patience_s`, or 60."""
        return watch_import(self._pusher(), import_id, self._retries, patience_s)

    async def rollback_import(self) -> types_pb2.ImportManifest:
        """Goes back to the import before the current one: its file under a new id."""
        request = pusher_pb2.RollbackImportRequest()
        answer = await self._ask_pusher(
            "RollbackImport", lambda stub, left_s: stub.RollbackImport(request, timeout=left_s), once=True
        )
        return answer.manifest

    async def get_pusher(self) -> pusher_pb2.GetPusherResponse:
        """The log's ends, how far each node is, the newest imports."""
        request = pusher_pb2.GetPusherRequest()
        return await self._ask_pusher("GetPusher", lambda stub, left_s: stub.GetPusher(request, timeout=left_s))

    async def get_each_pusher(self, timeout_s: float) -> dict[str, pusher_pb2.GetPusherResponse | CallError]:
        """What each pusher of the endpoints says, or why not, by its address; asked at one time, once, for so long."""
        request = pusher_pb2.GetPusherRequest()
        return await self._pusher().of_each("GetPusher", lambda stub: stub.GetPusher(request, timeout=timeout_s))

    async def skip_update(self, position: int, reason: str, *, force: bool = False) -> pusher_pb2.SkipUpdateResponse:
        """No node takes that update any more: each rejects it with the reason. `force`: although a node has taken it.

        Raises NotFoundError, FailedPreconditionError or AlreadyExistsError where it is not to be, and says why.
        """
        request = pusher_pb2.SkipUpdateRequest(position=position, reason=reason, force=force)
        return await self._ask_pusher("SkipUpdate", lambda stub, left_s: stub.SkipUpdate(request, timeout=left_s))

    async def erase_member(self, member_id: str) -> pusher_pb2.EraseMemberResponse:
        """Erases what personal columns hold of a member, for good; the pusher has none of it when this returns.

        Raises FailedPreconditionError where no column is personal.
        """
        request = pusher_pb2.EraseMemberRequest(member_id=member_id)
        return await self._ask_pusher("EraseMember", lambda stub, left_s: stub.EraseMember(request, timeout=left_s))

    async def get_erasure(self, member_id: str) -> pusher_pb2.GetErasureResponse:
        """Which nodes have something of an erased member yet. Raises NotFoundError where none of that id was erased."""
        request = pusher_pb2.GetErasureRequest(member_id=member_id)
        return await self._ask_pusher("GetErasure", lambda stub, left_s: stub.GetErasure(request, timeout=left_s))

    async def _ask_pusher(
        self,
        called: str,
        ask: Callable[[pusher_pb2_grpc.PusherServiceAsyncStub, float], Awaitable[Answer]],
        *,
        once: bool = False,
    ) -> Answer:
        """The active pusher's answer. `once`: it must not be asked twice, and is looked for before."""
        if once:
            await self._find_active_pusher()
        return await self._pusher().answer(called, ask, self._retries, once=once)

    async def _find_active_pusher(self) -> None:
        """The next call goes there. Raises a CallError where there is none."""
        if self._pusher().are_several:
            await self.get_pusher()

    async def adopt_log(self, reason: str) -> pusher_pb2.AdoptLogResponse:
        """Puts the pusher's log in the place of those that the nodes hold the state of: what it lacks is given up.

        Raises FailedPreconditionError where no node holds another past than the log's.
        """
        request = pusher_pb2.AdoptLogRequest(reason=reason)
        return await self._ask_pusher(
            "AdoptLog", lambda stub, left_s: stub.AdoptLog(request, timeout=left_s), once=True
        )

    async def read_log(self, first_position: int = 1, last_position: int = 0) -> AsyncIterator[treenode_pb2.LogRecord]:
        """Log records in order; on and on where `last_position` is 0. Raises OutOfRangeError, DataLossError.

        Records that there are have to come within the client's timeout; those that come one day are waited for.
        """
        request = pusher_pb2.ReadLogRequest(first_position=first_position, last_position=last_position)
        patient_s = self._retries.timeout_s if last_position else None
        await self._find_active_pusher()
        try:
            async with aclosing(promptly(self._pusher().stub.ReadLog(request), patient_s, patient_s)) as responses:
                async for response in responses:
                    for record in response.records:
                        yield record
        except grpc.aio.AioRpcError as error:
            raise call_error(error, "ReadLog", self._address("pusher")) from error

    # The cluster

    async def get_cluster(self) -> coordinator_pb2.Cluster:
        """The cluster as the active coordinator sees it. Where that one can't be reached, one that stands by says what
        it was told last: `standby` is not empty then, and `observed_at` says of when it is."""
        return await get_cluster(self._coordinator(), self._retries)

    async def get_each_cluster(self, timeout_s: float) -> dict[str, coordinator_pb2.Cluster | CallError]:
        """The same by each coordinator of the endpoints, as `get_each_pusher`."""
        request = coordinator_pb2.GetClusterRequest()
        said = await self._coordinator().of_each("GetCluster", lambda stub: stub.GetCluster(request, timeout=timeout_s))
        return {at: answer if isinstance(answer, CallError) else answer.cluster for at, answer in said.items()}

    async def nodes(self) -> tuple[NodeEndpoint, ...]:
        """Every node: those of the endpoints, and those whose lease runs that only the coordinator knows, as where some
        were added since. Of both, the endpoints' addresses: by them this program reaches a node. Raises CallError.
        """
        named = {node.name for node in self.endpoints.nodes}
        found = (node.address for node in (await self.get_cluster()).nodes if node.alive)
        added = (
            NodeEndpoint(name=node.name, report=node.report, instant=node.instant, http=node.http)
            for node in found
            if node.name not in named
        )
        return (*self.endpoints.nodes, *added)

    def watch_cluster(self) -> AsyncIterator[coordinator_pb2.Cluster]:
        """The cluster now and after each change; never ends by itself, and comes back after a break."""
        return watch_cluster(self._coordinator(), self._retries)

    async def switchover(self, to_node: str = "", *, timeout_s: float = 30.0) -> coordinator_pb2.SwitchoverResponse:
        """Makes another node primary; empty: the best. Not retried: a second one would switch back."""
        request = coordinator_pb2.SwitchoverRequest(to_node=to_node)
        coordinator = self._coordinator()
        if coordinator.are_several:
            coordinator.aim((await self.get_cluster()).coordinator)
        try:
            return await coordinator.stub.Switchover(request, timeout=seconds("timeout_s", timeout_s))
        except grpc.aio.AioRpcError as error:
            raise call_error(error, "Switchover", self._address("coordinator")) from error

    async def switchover_pusher(
        self, to_pusher: str = "", *, timeout_s: float = 30.0
    ) -> coordinator_pb2.SwitchoverPusherResponse:
        """Makes another pusher active; empty: the one that has read furthest. Not retried, as `switchover`."""
        request = coordinator_pb2.SwitchoverPusherRequest(to_pusher=to_pusher)
        coordinator = self._coordinator()
        if coordinator.are_several:
            coordinator.aim((await self.get_cluster()).coordinator)
        try:
            return await coordinator.stub.SwitchoverPusher(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise call_error(error, "SwitchoverPusher", self._address("coordinator")) from error

    async def pause(self) -> None:
        """No elections until `resume`."""
        request = coordinator_pb2.PauseRequest()
        await self._coordinator().answer(
            "Pause", lambda stub, left_s: stub.Pause(request, timeout=left_s), self._retries
        )

    async def resume(self) -> None:
        """Elections go on."""
        request = coordinator_pb2.ResumeRequest()
        await self._coordinator().answer(
            "Resume", lambda stub, left_s: stub.Resume(request, timeout=left_s), self._retries
        )

    # One node

    async def get_node(self, instant_address: str) -> treenode_pb2.GetNodeResponse:
        """Where a node stands, by its instant port's address."""
        request = treenode_pb2.GetNodeRequest()
        return await self._ask_node(
            "GetNode", instant_address, lambda stub, left_s: stub.GetNode(request, timeout=left_s)
        )

    async def get_update_fate(self, instant_address: str, position: int) -> treenode_pb2.UpdateFate.ValueType:
        """What became of an update on one node, by its position."""
        request = treenode_pb2.GetUpdateFateRequest(position=position)
        answer = await self._ask_node(
            "GetUpdateFate", instant_address, lambda stub, left_s: stub.GetUpdateFate(request, timeout=left_s)
        )
        return answer.fate

    async def get_digest(self, instant_address: str, position: int = 0) -> treenode_pb2.GetDigestResponse:
        """A node's digest at an exact position (0: where it is); waits until it is there. OutOfRangeError: too old."""
        request = treenode_pb2.GetDigestRequest(position=position)
        return await self._ask_node(
            "GetDigest", instant_address, lambda stub, left_s: stub.GetDigest(request, timeout=left_s)
        )

    async def list_leg_digests(
        self, instant_address: str, member_id: str = "", *, page_size: int = 0, page_token: str = ""
    ) -> treenode_pb2.ListLegDigestsResponse:
        """Digests of a member and a page of its legs (empty: of the roots); a token goes on at any node."""
        request = treenode_pb2.ListLegDigestsRequest(member_id=member_id, page_size=page_size, page_token=page_token)
        return await self._ask_node(
            "ListLegDigests", instant_address, lambda stub, left_s: stub.ListLegDigests(request, timeout=left_s)
        )

    async def _ask_node(
        self,
        called: str,
        address: str,
        ask: Callable[[treenode_pb2_grpc.TreeNodeServiceAsyncStub, float], Awaitable[Answer]],
    ) -> Answer:
        return await with_retries(
            lambda left_s: ask(treenode_pb2_grpc.TreeNodeServiceStub(self._channels.to(address)), left_s),
            self._retries,
            called=called,
            address=address,
        )

    def _address(self, part: str) -> str:
        address = str(getattr(self.endpoints, part))
        if not address:
            where = _WHERE_THERE_IS.get(part, "")
            raise EndpointsError(f"the endpoints file names no {part}: {where}add it as host:port")
        return address

    def _reports_at(self, address: str) -> Reports:
        reports = self._reports.get(address)
        if reports is None:
            reports = Reports(self._channels, address, self._retries, self._seen, coalesce=self._coalesce)
            self._reports[address] = reports
        return reports

    def _pusher(self) -> Servers[pusher_pb2_grpc.PusherServiceAsyncStub]:
        if self._pushers is None:
            self._pushers = Servers(self._channels, self._address("pusher"), pusher_pb2_grpc.PusherServiceStub)
        return self._pushers

    def _coordinator(self) -> Servers[coordinator_pb2_grpc.CoordinatorServiceAsyncStub]:
        if self._coordinators is None:
            addresses = self._address("coordinator")
            self._coordinators = Servers(self._channels, addresses, coordinator_pb2_grpc.CoordinatorServiceStub)
        return self._coordinators
