"""What a company's DataTrax programs touch: their configuration file, taken as it is.

It speaks the public API alone, so nothing here knows another service.
"""
