"""Messages to a downline: each of its members once per message, whatever dies in between.

In come messages, answers of senders and opt-outs; letters go out to senders. `sending.py` decides, `journal.py` keeps,
`runner.py` does what is decided; a sender is a plug-in of `senders/`.
"""
