"""CBLDATATRAX under a running service: the file is watched, and what it says is in force whole, or not at all.

In comes the file as it lies there, again and again (`watching.py`). `following.py` decides what of it counts: a file
that has a fault changes nothing. Out go the values in force, why nothing is taken (`gate.py`), and the page that tells
both (`status.py`). `places.py` has the folders and ports that a start takes from the file.
"""
