"""What a company's DataTrax programs touch: their configuration file and their records, and a local port for lines.

It speaks the public API alone, as a client of the pusher, so nothing here knows another service.
"""
