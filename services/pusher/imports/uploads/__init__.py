"""The watched upload folder: whatever lies in it, one file at a time is taken, or refused with the reason beside it."""
