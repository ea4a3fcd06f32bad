"""Settings as the services read them: what is in force, and what is wrong with them."""
