"""Where spans are kept: a collector, a file. In come spans, a batch at a time, from one thread; out go OTLP
messages."""
