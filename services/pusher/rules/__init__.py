"""Records of rules that the pusher makes itself: the first one of a log, and those that time or an import file bring.

In come settings, once, what nodes say of their trees, and the day; updates for the log leave. What is in force, and
what the door refuses by it, is the log's own (`services/pusher/log/group_commit.py`, `services/shared/rules`).
"""
