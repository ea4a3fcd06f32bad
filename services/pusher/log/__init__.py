"""The durable log: updates by position, each id once, and the list of imports beside them.

In come encoded updates; out go positions, and the same bytes again for whoever is sent them.
"""
