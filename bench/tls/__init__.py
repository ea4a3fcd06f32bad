"""What certificates cost: the same cluster twice, in clear and by mTLS, measured in turns."""
