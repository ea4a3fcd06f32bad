"""Personal values at the pusher."""
