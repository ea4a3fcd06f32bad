"""Commands about messages to downlines, which the service for DataTrax sends."""
