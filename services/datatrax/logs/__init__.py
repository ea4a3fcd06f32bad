"""The nodes' logs on the DataTrax host, where 2016 had them: gathered from every node, which is named in each line.

In comes who is in the cluster, by the coordinator; each node is asked at its HTTP port, at the pages that it has of its
own. Out go sources of lines for `services/shared/debug/pages.py`. `places.py` knows where nodes are, `asking.py` what
one of them answers, `gathering.py` makes one log of all, `host_logs.py` puts this host's pages together.
"""
