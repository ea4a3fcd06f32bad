"""`fasttree trace`: one update's way, from the client to each node, with times.

Spans come in, where they are written to a file (`spans.py`); and what coordinator, pusher and nodes know of any update,
traced or not (`known.py`). An update that was not traced is told as far as it is known, and that it was not.
"""
