"""What lies on the console's own machine, where settings name it: audit logs and log files. In come their folders, out
go bounded parts of them, as text that a page can show; nothing is written, and nothing is followed out of a folder.
"""
