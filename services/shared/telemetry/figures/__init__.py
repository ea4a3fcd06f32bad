"""Figures for a collector: every so often all of them are read, on the event loop as Prometheus has them read, and what
was read is sent as OTLP by the thread that sends spans.

What comes in is what `services/shared/serving/metrics.py` has declared, once for both; what leaves are OTLP messages.
One reading waits at most: the next one takes its place, since each has all that is in those before it.
"""
