"""Lineage: whether the log is the one that the nodes' states come from, and so may grow.

What nodes say of themselves enters, and an operator's word to go on all the same; whether pushes and imports are taken
leaves. Emptiness is never taken for truth here: a log without a past has to hear from the nodes first.
"""
