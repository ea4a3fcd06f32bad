"""A slow, plain genealogy to judge the engine by: dicts, recomputed whole whenever something is asked."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from fasttree.v1 import types_pb2

LOWEST, HIGHEST = -(2**63), 2**63 - 1
SPONSOR, PLACEMENT = 1, 2


@dataclass
class Place:
    """A member, or with kind 0 an empty place."""

    kind: int = 1
    status: str = ""
    rank: int = 0
    joined_on: str = ""
    sponsor: str = ""
    placement: str = ""
    leg: int = 0
    volumes: dict[tuple[str, str], int] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)


class _RefusedError(Exception):
    pass


class _WaitsError(Exception):
    pass


class NaiveTree:
    """Members by id. `columns` are text columns only."""

    def __init__(self, volume_types: list[str], periods: list[str], columns: list[str]) -> None:
        self.volume_types = volume_types
        self.periods = periods
        self.columns = columns
        self.places: dict[str, Place] = {}
        self.held: dict[int, types_pb2.Update] = {}
        self.waits_for: dict[int, str] = {}
        #: Where the member that an update waits for was removed.
        self.removed_at: dict[int, int] = {}
        #: By id: the newest removal.
        self.removals: dict[str, int] = {}
        self.rejected: list[int] = []
        self.position = 0

    # --- reading

    def is_member(self, member_id: str) -> bool:
        return member_id in self.places and self.places[member_id].kind != 0

    def parent(self, which: int, member_id: str) -> str:
        place = self.places[member_id]
        return place.sponsor if which == SPONSOR else place.placement

    def children(self, which: int, member_id: str) -> list[str]:
        return [each for each in self.places if self.parent(which, each) == member_id]

    def upline(self, which: int, member_id: str) -> list[str]:
        """Places above, nearest first."""
        above = []
        member_id = self.parent(which, member_id)
        while member_id:
            above.append(member_id)
            member_id = self.parent(which, member_id)
        return above

    def downline(self, which: int, member_id: str) -> list[str]:
        """Places below, with the member itself."""
        return [each for each in self.places if member_id == each or member_id in self.upline(which, each)]

    def count(self, which: int, member_id: str) -> int:
        return sum(self.is_member(each) for each in self.downline(which, member_id)) - self.is_member(member_id)

    def group(self, which: int, member_id: str, key: tuple[str, str]) -> int:
        return sum(self.places[each].volumes.get(key, 0) for each in self.downline(which, member_id))

    def holding(self) -> set[str]:
        return {each for each, place in self.places.items() if place.kind and place.sponsor and not place.placement}

    def has_overflow(self) -> bool:
        for member_id, place in self.places.items():
            for key in place.volumes:
                if not LOWEST <= place.volumes[key] <= HIGHEST:
                    return True
            for which in (SPONSOR, PLACEMENT):
                for volume_type in self.volume_types:
                    for period in self.periods:
                        if not LOWEST <= self.group(which, member_id, (volume_type, period)) <= HIGHEST:
                            return True
        return False

    # --- updates

    def apply(self, update: types_pb2.Update) -> None:
        self.position += 1
        if update.HasField("held_settled"):
            if not self._decide(update.held_settled):
                self.rejected.append(self.position)
            return
        self._try_all(self._settle(self.position, update))

    def _try_all(self, ready: set[int]) -> None:
        while ready:
            position = min(ready)
            ready.remove(position)
            ready |= self._settle(position, self.held[position])

    def _decide(self, settled: types_pb2.HeldSettled) -> bool:
        """Whether anything came of it."""
        chosen = {
            position
            for position, waits in self.waits_for.items()
            if settled.position == position or settled.member_id == waits
        }
        if not chosen or not settled.reason or not settled.action:
            return False
        if settled.action == types_pb2.HELD_ACTION_RETRY:
            if not all(self.is_member(self.waits_for[position]) for position in chosen):
                return False
            for position in chosen:
                del self.waits_for[position]
            self._try_all(chosen)
            return True
        for position in sorted(chosen):
            del self.held[position], self.waits_for[position]
            self.removed_at.pop(position, None)
            self.rejected.append(position)
        return True

    def _waiting_for(self, enrolled: types_pb2.MemberEnrolled) -> set[int]:
        positions = {
            position
            for position, waits in self.waits_for.items()
            if waits == enrolled.member_id and (enrolled.returning or position not in self.removed_at)
        }
        for position in positions:
            del self.waits_for[position]
        return positions

    def _settle(self, position: int, update: types_pb2.Update) -> set[int]:
        """The held updates that it releases."""
        self.removed_at.pop(position, None)
        before = copy.deepcopy(self.places)
        change = update.WhichOneof("change")
        try:
            if change is None:
                raise _RefusedError
            getattr(self, "_" + change)(getattr(update, change))
            if self.has_overflow():
                raise _RefusedError
        except _WaitsError as waits:
            self.places = before
            self.held[position] = update
            self.waits_for[position] = str(waits)
            if str(waits) in self.removals:
                self.removed_at[position] = self.removals[str(waits)]
            return set()
        except _RefusedError:
            self.places = before
            self.held.pop(position, None)
            self.rejected.append(position)
            return set()
        self.held.pop(position, None)
        if change == "member_removed":
            self.removals[update.member_removed.member_id] = self.position
        return self._waiting_for(update.member_enrolled) if change == "member_enrolled" else set()

    def _refuse_if(self, refused: Any) -> None:
        if refused:
            raise _RefusedError

    def _known(self, member_id: str) -> str:
        if member_id and not self.is_member(member_id):
            raise _WaitsError(member_id)
        return member_id

    def _take_leg(self, member_id: str, above: str, leg: int) -> int:
        if not above:
            return 0
        place = self.places.get(member_id)
        if place is not None and place.placement == above and leg in (0, place.leg):
            return place.leg
        taken = {self.places[each].leg for each in self.children(PLACEMENT, above)}
        self._refuse_if(leg and leg in taken)
        return leg or next(each for each in range(1, len(taken) + 2) if each not in taken)

    def _member_enrolled(self, new: types_pb2.MemberEnrolled) -> None:
        self._refuse_if(new.placement_leg and not new.placement_id)
        self._refuse_if(new.member_id in (new.sponsor_id, new.placement_id))
        self._refuse_if(set(new.columns) - set(self.columns))
        self._refuse_if(self.is_member(new.member_id))
        self._known(new.sponsor_id)
        self._known(new.placement_id)
        place = self.places.get(new.member_id)
        if place is not None:
            self._refuse_if(new.sponsor_id in self.downline(SPONSOR, new.member_id))
            self._refuse_if(new.placement_id in self.downline(PLACEMENT, new.member_id))
        leg = self._take_leg(new.member_id, new.placement_id, new.placement_leg)
        place = self.places.setdefault(new.member_id, Place())
        place.kind = new.kind or 1
        place.status, place.rank, place.joined_on = new.status, new.rank, new.joined_on
        place.sponsor, place.placement, place.leg = new.sponsor_id, new.placement_id, leg
        place.columns = {name: text for name, text in new.columns.items() if text}

    def _member_changed(self, changed: types_pb2.MemberChanged) -> None:
        self._refuse_if(changed.HasField("kind") and not changed.kind)
        self._refuse_if(set(changed.columns) - set(self.columns))
        place = self.places[self._known(changed.member_id)]
        if changed.HasField("kind"):
            place.kind = changed.kind
        for name in ("status", "rank", "joined_on"):
            if changed.HasField(name):
                setattr(place, name, getattr(changed, name))
        place.columns.update(changed.columns)
        place.columns = {name: text for name, text in place.columns.items() if text}

    def _member_moved(self, moved: types_pb2.MemberMoved) -> None:
        placed = moved.tree == types_pb2.TREE_PLACEMENT and moved.new_parent_id
        self._refuse_if(moved.placement_leg and not placed)
        self._refuse_if(moved.member_id == moved.new_parent_id)
        place = self.places[self._known(moved.member_id)]
        above = self._known(moved.new_parent_id)
        which = PLACEMENT if moved.tree == types_pb2.TREE_PLACEMENT else SPONSOR
        self._refuse_if(above in self.downline(which, moved.member_id))
        if which == SPONSOR:
            place.sponsor = above
        else:
            place.leg = self._take_leg(moved.member_id, above, moved.placement_leg)
            place.placement = above

    def _member_removed(self, removed: types_pb2.MemberRemoved) -> None:
        emptied = removed.mode == types_pb2.REMOVAL_MODE_LEAVE_EMPTY
        self._refuse_if(emptied and removed.volume)
        place = self.places[self._known(removed.member_id)]
        if emptied:
            place.kind, place.status, place.rank, place.joined_on, place.columns = 0, "", 0, "", {}
            return
        if removed.volume != types_pb2.REMOVAL_VOLUME_LEAVES:
            self._roll_up(place)
        placed = sorted(self.children(PLACEMENT, removed.member_id), key=lambda each: self.places[each].leg)
        for child in self.children(SPONSOR, removed.member_id):
            self.places[child].sponsor = place.sponsor
        del self.places[removed.member_id]
        vacated = place.leg
        legs = [self.places[child].leg for child in placed]
        for child in placed:
            self.places[child].placement, self.places[child].leg = place.placement, 0
        for child, leg in zip(placed, legs, strict=True):
            if not place.placement or not leg:
                continue
            taken = {self.places[each].leg for each in self.children(PLACEMENT, place.placement)}
            self.places[child].leg = vacated or next(leg for leg in range(1, len(taken) + 2) if leg not in taken)
            vacated = 0

    def _roll_up(self, place: Place) -> None:
        heir = place.sponsor
        while heir and not self.is_member(heir):
            heir = self.places[heir].sponsor
        if heir:
            volumes = self.places[heir].volumes
            for key, amount in place.volumes.items():
                volumes[key] = volumes.get(key, 0) + amount

    def _volume_posted(self, posted: types_pb2.VolumePosted) -> None:
        self._refuse_if(posted.amount_hundredths == LOWEST)
        key = (posted.volume_type or self.volume_types[0], posted.period or self.periods[0])
        self._refuse_if(key[0] not in self.volume_types or key[1] not in self.periods)
        place = self.places[self._known(posted.member_id)]
        place.volumes[key] = place.volumes.get(key, 0) + posted.amount_hundredths
