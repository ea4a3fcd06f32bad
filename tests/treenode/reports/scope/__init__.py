"""What a leader sees of reports."""
