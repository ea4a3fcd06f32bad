"""Frames as stores have them: sealed, where this process has keys, and opened on their way out. Nothing else of the
pusher knows that they are.
"""
