"""What is kept of each member, column by column: ids, short texts, further columns, and the digest over all of them."""
