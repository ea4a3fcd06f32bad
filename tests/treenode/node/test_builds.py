"""A build goes its way and no other."""

from itertools import product

import pytest

from services.treenode.node.builds import TRANSITIONS, Build, IllegalPhaseError, Phase
from services.treenode.node.cutover_events import Way


@pytest.mark.parametrize(("before", "after"), list(product(Phase, Phase)))
def test_a_step_that_the_table_lacks_is_a_defect(before: Phase, after: Phase) -> None:
    build = Build(1, Way.IMPORT, 7, "log-1", phase=before, until_s=3.0)
    if after in TRANSITIONS[before]:
        build.enter(after, 9.0)
        assert (build.phase, build.until_s) == (after, 9.0)
    else:
        with pytest.raises(IllegalPhaseError, match=before.value):
            build.enter(after)
        assert (build.phase, build.until_s) == (before, 3.0)


def test_each_build_can_end_once() -> None:
    assert {phase for phase in Phase if Phase.ENDED in TRANSITIONS[phase]} == set(Phase) - {Phase.ENDED}
    assert not TRANSITIONS[Phase.ENDED]
