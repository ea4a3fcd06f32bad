"""How pushed updates are admitted to the log, and when their receipts go out."""
