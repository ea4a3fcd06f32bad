"""`fasttree certs`: an authority of a cluster's own, for companies that have none, and the certificates that it signs.

In come names and roles; out go files as cert-manager lays them out, made anew in place.
"""
