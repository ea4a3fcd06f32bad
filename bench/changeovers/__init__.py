"""Pushers that change over while orders come: in go orders at a steady rate, out come how long the longest push took,
and whether any was refused, lost or counted twice."""
