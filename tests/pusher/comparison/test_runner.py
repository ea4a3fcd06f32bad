"""How nodes that differ are named."""

from types import SimpleNamespace
from typing import cast

from services.pusher.comparison.comparison import Difference
from services.pusher.comparison.runner import ComparisonRunner
from services.pusher.comparison.settings import ComparisonSettings
from services.pusher.fanout.runner import FanOut


def test_nodes_are_named_in_the_order_of_their_names() -> None:
    names = {"127.0.0.1:9": "n1", "127.0.0.1:50": "n2", "127.0.0.1:40": "n3", "127.0.0.1:30": "n4"}
    runner = ComparisonRunner(ComparisonSettings(), cast(FanOut, SimpleNamespace(names=names)))
    runner.core.known = {7: Difference(7, 90, ("127.0.0.1:50",), ("127.0.0.1:30", "127.0.0.1:40", "127.0.0.1:9"))}
    (told,) = runner.differences()
    assert (list(told.nodes), list(told.others)) == (["n2"], ["n1", "n3", "n4"])
