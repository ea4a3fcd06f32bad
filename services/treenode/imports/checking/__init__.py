"""A file looked at before it is uploaded: where it lies, with nothing of a cluster but its rules.

A path enters; all that is wrong with the file leaves at once, by kind, and the refused rows in a file of their own. It
is read by what nodes read imports with, in a process that the fasttree command starts.
"""
