"""What vsched, cron or a timer starts on the DataTrax host: work that has an end, and never runs twice at once.

The folder of a port (FT50201) enters, and a client where the pusher is spoken to; what was done leaves as numbers and
sentences. Files that are to be sent wait in `outgoing/` there, whatever dies. The command `fasttree datatrax` is the
way in, and says it to people.
"""
