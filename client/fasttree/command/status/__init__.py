"""`fasttree status`: how the cluster stands, once or again and again, for people and as JSON.

Beside the API's words stand those of the HTTP ports (`pages.py`), for this command and those that look closer.
"""
