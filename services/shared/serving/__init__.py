"""How a process of ours starts, serves gRPC and HTTP, names its errors, tells its health, and ends.

In come a service's handlers and its settings; out go servers that a stock client, a probe and a load balancer
understand.
"""
