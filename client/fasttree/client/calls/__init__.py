"""One call to a server: the connection that it goes by, when it is made again, and calls that are made together.

In come a method of a stub, its request and how patient the caller is; out comes the answer, or an error by its name.
"""
