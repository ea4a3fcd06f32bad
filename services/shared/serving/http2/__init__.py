"""A gRPC server of one thread on libnghttp2: a call is answered in the read that brought it, where its handler can."""
