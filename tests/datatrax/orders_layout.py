"""A layout of orders, as a company has it: 17 bytes a record."""

LAYOUT = """
change = "volume_posted"
update_id = "order-{order}"
[[fields]]
name = "order"
picture = "X(4)"
[[fields]]
name = "member_id"
picture = "9(6)"
[[fields]]
name = "amount"
picture = "S9(5)V99"
"""
