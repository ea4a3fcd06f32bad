"""`fasttree bundle`: what somebody needs who helps from afar, in one archive: and nothing that is nobody's business.

Logs, status, figures, settings, versions and the doctor's findings come in; secrets and what is said of members stay
out. Of a secret a pattern is known (`scrubbing.py`); of a member's name none is, so it is the other way round there: of
a log's words those stay that our own code has (`vocabulary.py`).
"""
