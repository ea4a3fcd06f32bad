"""What other nodes keep of closed periods, and how it comes here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import grpc.aio

from fasttree.v1 import treenode_pb2, treenode_pb2_grpc, types_pb2
from services.shared.files.downloads import DownloadFailedError, Wanted, fetch
from services.shared.files.sealed.names import state_name
from services.shared.serving.channels import open_channel
from services.treenode.node.runner import NodeRunner
from services.treenode.periods.files import KeptFile, PeriodFiles
from services.treenode.periods.keeping import Kept, Offer
from services.treenode.snapshots.others import CALL_TIMEOUT_S, ready_peers
from services.treenode.snapshots.peers import PeerUnfitError, manifest_of
from services.treenode.snapshots.state_file import StateDamagedError

#: States of one peer that are looked at: more than a node can be set to keep.
OFFERS_MAX = 1_200

logger = logging.getLogger(__name__)


class FetchError(Exception):
    """A peer's file is not to be had, or not what it should be. The text says why."""


class PeriodPeers:
    """The other nodes."""

    def __init__(self, node: NodeRunner, files: PeriodFiles, own_instant_address: Callable[[], str]) -> None:
        self._node = node
        self._files = files
        self._own_instant_address = own_instant_address
        #: What each said last, by address: its name, and what it keeps.
        self.told: dict[str, tuple[str, tuple[types_pb2.KeptPeriod, ...]]] = {}

    async def ask(self) -> tuple[Offer, ...]:
        """What every ready peer keeps; those that don't answer are left out."""
        peers = await ready_peers(self._node, self._own_instant_address())
        answers = await asyncio.gather(*map(_ask, peers))
        self.told = {
            peer: (answer.address.name, tuple(answer.kept_periods[:OFFERS_MAX]))
            for peer, answer in zip(peers, answers, strict=True)
            if answer is not None
        }
        return tuple(Offer(peer, _state_of(kept)) for peer, (_, all_kept) in self.told.items() for kept in all_kept)

    def who_has(self, period: str, log_id: str) -> list[str]:
        """Names of the nodes that said so."""
        return sorted(
            name
            for name, all_kept in self.told.values()
            if any((kept.period, kept.log_id) == (period, log_id) for kept in all_kept)
        )

    async def fetch(self, offer: Offer) -> KeptFile:
        """Fetches a state, and checks all of it.

        Raises:
            FetchError: It could not be fetched, or is not what the peer said.
            OSError: The disk.
        """
        state = offer.state
        part = self._files.part_of(state, "fetched")
        try:
            digest = await self._download(offer, part)
            await asyncio.to_thread(self._files.check_part, part)
            described = await asyncio.to_thread(self._files.described, part)
            if (described.state, described.digest) != (state, digest):
                raise FetchError(f"it holds {described.state}, digest {described.digest:016x}")
            return await asyncio.to_thread(self._files.take, part, state)
        except (DownloadFailedError, PeerUnfitError, StateDamagedError, ValueError, KeyError) as error:
            raise FetchError(str(error) or repr(error)) from error
        except grpc.aio.AioRpcError as error:
            raise FetchError(f"{error.code().name}: {error.details()}") from error
        except TimeoutError as error:
            raise FetchError("no answer in time") from error
        finally:
            await asyncio.to_thread(self._files.discard, part)

    async def _download(self, offer: Offer, part: Path) -> int:
        """Into the part file; the digest that the peer gave for it."""
        state = offer.state
        kept = next((each for each in self.told[offer.peer][1] if _state_of(each) == state), None)
        if kept is None:
            raise FetchError("it does not keep it any more")
        async with open_channel(offer.peer) as channel:
            stub = treenode_pb2_grpc.TreeNodeServiceStub(channel)

            def request(offset: int) -> treenode_pb2.DownloadSnapshotRequest:
                return treenode_pb2.DownloadSnapshotRequest(
                    closed_period=state.period, import_id=state.import_id, position=state.position, offset=offset
                )

            manifest = await manifest_of(stub, request(0))
            if manifest.size_bytes > self._node.settings.node.cutover.search.snapshot_bytes_max:
                raise FetchError(f"its {manifest.size_bytes} bytes are more than snapshot_bytes_max allows")

            async def chunks(source: str, offset: int) -> AsyncGenerator[types_pb2.Chunk, None]:
                async for response in stub.DownloadSnapshot(request(offset)):
                    if response.HasField("chunk"):
                        yield response.chunk

            wanted = Wanted(manifest.size_bytes, manifest.sha256)
            silence_s = self._node.settings.download_silence_s
            name = state_name(self._files.path_of(state).name)
            await fetch(wanted, part, [offer.peer], chunks, silence_s, lambda share: None, name)
        return kept.digest


def _state_of(kept: types_pb2.KeptPeriod) -> Kept:
    return Kept(kept.log_id, kept.period, kept.import_id, kept.position, kept.replayed)


async def _ask(peer: str) -> treenode_pb2.GetNodeResponse | None:
    try:
        async with open_channel(peer) as channel:
            stub = treenode_pb2_grpc.TreeNodeServiceStub(channel)
            return await stub.GetNode(treenode_pb2.GetNodeRequest(), timeout=CALL_TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        logger.debug("%s does not say what it keeps: %s", peer, error.details())
        return None
