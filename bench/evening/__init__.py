"""An evening's drill: faults of a real cluster, one after another, and for each what told of it, and how soon: the
page, the alerts, the commands, the traces. In comes nothing, out goes a table.
"""
