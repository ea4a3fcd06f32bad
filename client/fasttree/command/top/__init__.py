"""`fasttree top`: what every part of a cluster does now, by the figures that it shows to monitors.

Texts of HTTP ports come in (`client/fasttree/client/calls/pages.py`), figures between two looks go out
(`figures.py`, `rates.py`).
"""
