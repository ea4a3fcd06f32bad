"""How a cluster stands, as JSON: what `fasttree status` prints and what the console shows, computed here alone.

Answers of coordinator and pusher come in, plain values go out; nobody is asked anything here.
"""
