"""Who did what to a cluster, and who was refused: records that last, chained by hashes, in files of a service's own.

In come calls that change something (before they are made, and once they are over), refusals, and what a process decides
about itself; out go lines in the form of gRFC A59, with more beside that form. Operations and refusals have a chain of
files each, so that a flood of the ones never turns the others out of the folder. An operation whose record can't be
written is refused; everything else goes on.
"""
