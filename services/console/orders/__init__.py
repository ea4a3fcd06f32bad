"""Orders as they come: the log's end, read once for all browsers while one of them looks, and of it to each browser
what its token shows.
"""
