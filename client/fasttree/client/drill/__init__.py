"""The two-server testing procedure on a live cluster, for the command and the console alike.

In come a client, who may kill a node (`killing.py`), and how much load; out go the receipt's steps, each told as it
begins. What a drill did is undone at its end, also where it is broken off.
"""
