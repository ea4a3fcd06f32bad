"""How pushed updates are admitted to the log, and when their receipts go out.

In come batches of updates, stream by stream, what the log made of them, and what the nodes confirmed; out go batches
for the log, leave to read on, and receipts in order. The core is `admission.py`; budgets, acknowledgement levels and
what is said in a receipt are parts of it.
"""
