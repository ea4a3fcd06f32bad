"""What a request means: columns, filters, orders and page tokens, checked before anything is read."""
