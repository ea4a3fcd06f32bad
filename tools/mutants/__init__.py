"""Mutants: small wrong changes to the rules of the cores and the engine, to see which ones no test of the room notices.

    make mutants                          every mutant of every room
    make mutants SAMPLE=200 SEED=7        that many, drawn from the seed
    make mutants ONLY=election/leases     of the modules whose path holds that text

Neither mutmut nor cosmic-ray fits: both leave statements and actions where they are, and start the tests anew in a copy
of the repository for every mutant. Here a mutant is a syntax tree in memory (`mutations.py`), put in the module's place
in a fork of a process that has imported all that is slow to import (`runs.py`). `rooms.py` says which tests have to
notice it; mutants that change nothing that anyone could see are in `equivalent.toml`, each with its reason.
"""
