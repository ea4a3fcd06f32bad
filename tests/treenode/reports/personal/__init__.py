"""Personal columns in reports."""
