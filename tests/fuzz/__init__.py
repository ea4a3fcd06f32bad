"""Fuzzing of everything that reads what a peer, a file or a setting says, led by what it did (atheris).

A target is a parser with inputs to begin with and the errors that it may raise: any other one, a hang, or memory
without end is a finding. `python -m tests.fuzz` runs them all, `make fuzz` for long.
"""
