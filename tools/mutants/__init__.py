"""Mutants: small wrong changes to the rules of the cores and the engine, to see which ones no test of the room notices.

    make mutants                          every mutant of every room
    make mutants SAMPLE=200 SEED=7        that many, drawn from the seed
    make mutants ONLY=election/leases     of the modules whose path holds that text

Neither mutmut nor cosmic-ray fits: both leave statements and actions where they are, and start the tests anew for every
mutant. Here a room's tests are collected and run once in one process; a mutant is a fork of it in which one function's
code is another (`patching.py`), and runs those tests that enter that function (`runs.py`). `rooms.py` says which tests
have to notice which modules; mutants that change nothing that anyone could see are in `equivalent.toml`, each with its
reason.
"""
