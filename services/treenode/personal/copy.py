"""The copy in a node's folder: followed, and asked by reports."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc.aio

from fasttree.v1 import pusher_pb2, pusher_pb2_grpc
from services.shared.files.threads import in_thread
from services.shared.personal.moving import Tended
from services.shared.personal.tending import tend_vault
from services.shared.personal.tokens import is_token
from services.shared.personal.vault import FILE_NAME, Change, Vault, VaultError
from services.shared.serving.channels import open_channel
from services.treenode.settings import TreeNodeSettings

logger = logging.getLogger(__name__)


class PersonalCopy:
    """`pusher`: its address, empty while it is unknown; `is_needed`: whether any column is personal."""

    def __init__(
        self, folder: Path, settings: TreeNodeSettings, pusher: Callable[[], str], is_needed: Callable[[], bool]
    ) -> None:
        self._path = folder / FILE_NAME
        self._node, self._call_s, self._again_s = settings.name, settings.personal_call_s, settings.personal_again_s
        self._pusher, self._is_needed = pusher, is_needed
        self._vault: Vault | None = None
        self._said = ""

    def revealed(self, texts: Sequence[str]) -> list[str]:
        """Values in the place of tokens; blocks for a moment. Empty where the copy can't be read, or lacks them."""
        try:
            if self._vault is not None:
                return self._vault.revealed(texts)
        except VaultError as error:
            self._say(str(error))
        return ["" if is_token(text) else text for text in texts]

    async def run(self) -> None:
        """Follows the pusher's vault, for as long as the node runs; what there is is shown without a pusher, too."""
        try:
            await self._opened()
        except VaultError as error:
            self._say(str(error))
        while True:
            address = self._pusher()
            if not address or not (self._is_needed() or self._path.exists()):
                await asyncio.sleep(self._again_s)
                continue
            try:
                async with open_channel(address) as channel:
                    stub = pusher_pb2_grpc.PusherServiceStub(channel)
                    while self._pusher() == address:
                        await self._follow(stub)
            except grpc.aio.AioRpcError as error:
                self._say(f"personal columns can't be followed: {error.code().name}: {error.details()}")
            except VaultError as error:
                self._say(f"{error}; or move it away, and it is copied anew")
            await asyncio.sleep(self._again_s)

    async def _opened(self, vault_id: str = "") -> Vault | None:
        """The copy; None where there is none yet, or it was moved away: then another one begins. `vault_id`: now."""
        if self._vault is not None and not self._path.exists():
            moved, self._vault = self._vault, None
            await in_thread(moved.close)
        if self._vault is None and (vault_id or self._path.exists()):
            self._vault = await in_thread(_opened, self._path, vault_id)
        return self._vault

    async def tend(self) -> None:
        """What is sealed follows the keys, for as long as the node runs."""
        await tend_vault(self._tend)

    async def _tend(self) -> Tended | None:
        return None if self._vault is None else await in_thread(self._vault.tend)

    async def _follow(self, stub: pusher_pb2_grpc.PusherServiceAsyncStub) -> None:
        """One question and its answer."""
        vault = await self._opened()
        request = pusher_pb2.ReadPersonalRequest(node=self._node)
        if vault is not None:
            request.vault_id, request.after = vault.vault_id, vault.last
        answer = await stub.ReadPersonal(request, timeout=self._call_s)
        if vault is None and answer.vault_id:
            vault = await self._opened(answer.vault_id)
        if vault is not None and answer.last > request.after:
            changes = [
                Change(each.number, each.member_id, each.token, each.value, each.salt) for each in answer.changes
            ]
            await in_thread(vault.take, changes, answer.last)
        self._said = ""

    def close(self) -> None:
        """Ends."""
        if self._vault is not None:
            self._vault.close()

    def _say(self, line: str) -> None:
        if line != self._said:
            self._said = line
            logger.warning("%s", line)


def _opened(path: Path, vault_id: str) -> Vault:
    vault = Vault(path, vault_id)
    try:
        vault.follow_key()
    except VaultError:
        vault.close()
        raise
    return vault
