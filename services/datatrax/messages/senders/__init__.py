"""What letters are handed to: a channel's sender takes one letter after another, and says what becomes of each.

A sender is a class that holds `Sender` of `sender.py`, with an entry in `channels.py`.
"""
