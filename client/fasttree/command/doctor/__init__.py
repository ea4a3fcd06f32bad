"""`fasttree doctor`: all that is wrong on this machine and in the cluster, a line each, with the mend.

Nothing is judged here that is judged elsewhere: settings by `fasttree config check`'s reader, the cluster by
`fasttree status`, figures by the bounds of the alert rules, certificates by the client's. What can't be looked at is
said; a check that was not made is no good news.
"""
