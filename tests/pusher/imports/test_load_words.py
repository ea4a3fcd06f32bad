"""What the words of a node that loads mean."""

from __future__ import annotations

import pytest

from fasttree.v1 import treenode_pb2
from services.pusher.imports.events import Load, LoadDone, LoadFailed, LoadProgress, LoadRefused
from services.pusher.imports.load_words import LoadWords

LOAD = Load("a:1", 3, 7, ())
DOWNLOADING, CHECKING = treenode_pb2.IMPORT_PHASE_DOWNLOADING, treenode_pb2.IMPORT_PHASE_CHECKING
BUILDING, REPLAYING = treenode_pb2.IMPORT_PHASE_BUILDING, treenode_pb2.IMPORT_PHASE_REPLAYING
DONE, REFUSED = treenode_pb2.IMPORT_PHASE_DONE, treenode_pb2.IMPORT_PHASE_REFUSED


def test_a_load_that_goes_well() -> None:
    words = LoadWords(LOAD)
    for phase in (DOWNLOADING, CHECKING, BUILDING, REPLAYING):
        assert words.said(phase, [], "") == LoadProgress("a:1", 7)
    assert words.said(DONE, [4, 6], "") == LoadDone("a:1", 7, (4, 6))
    assert words.ended("the node ended the load") is None


def test_a_file_that_the_node_refuses() -> None:
    words = LoadWords(LOAD)
    assert words.said(REFUSED, [], "line 3") == LoadRefused("a:1", 7, "line 3")
    assert words.ended("INVALID_ARGUMENT: line 3", refused=True) is None


def test_a_status_alone_refuses_the_file() -> None:
    words = LoadWords(LOAD)
    assert words.ended("the file is bad", refused=True) == LoadRefused("a:1", 7, "the file is bad")
    assert words.ended("again") is None


@pytest.mark.parametrize(
    ("phases", "begun"),
    [
        ([], False),
        ([DOWNLOADING], False),
        ([DOWNLOADING, CHECKING], True),
        ([DOWNLOADING, BUILDING], True),
        ([REPLAYING], True),
        ([BUILDING, DOWNLOADING], False),
    ],
)
def test_a_node_that_fails_may_have_died_of_the_file_once_it_looked_into_it(
    phases: list[treenode_pb2.ImportPhase.ValueType], begun: bool
) -> None:
    words = LoadWords(LOAD)
    for phase in phases:
        words.said(phase, [], "")
    assert words.ended("it died") == LoadFailed("a:1", 7, "it died", begun)
