"""A whole cluster on this machine: its folder, its processes, its VIP, and the sample tree of the demo.

In come a folder and a few wishes; out go processes that live and die with `fasttree up`.
"""
