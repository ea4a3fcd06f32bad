"""`fasttree token`: a small issuer of tokens, for companies that have no other, and for a cluster on this machine.

In come a role and, of a leader, his member; out go signed tokens, and the public keys by which servers know them.
"""
