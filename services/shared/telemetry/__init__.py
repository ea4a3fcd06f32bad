"""What a process tells of itself to OpenTelemetry: spans of what it does, and its figures, sent to a collector or a
file.

What comes in is what happened, with its context; what leaves are OTLP messages, from a thread of its own. A collector
that is away, slow or wrong costs what the queue holds, and nothing else: nobody who tells waits, and nothing that fails
here is anybody's failure. Without `[telemetry]` nobody has a tracer (`own.py`), and nothing of OpenTelemetry's is
imported for it.
"""
