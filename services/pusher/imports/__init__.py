"""Import files: taken in whole or not at all, rolled out node by node, kept for as long as something needs them."""
