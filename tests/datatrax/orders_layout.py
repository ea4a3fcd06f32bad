"""Layouts of orders, as companies have them."""

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

#: The same with an id of their own.
WITH_IDS = """
change = "volume_posted"
[[fields]]
name = "update_id"
picture = "X(8)"
[[fields]]
name = "member_id"
picture = "9(6)"
[[fields]]
name = "amount"
picture = "S9(5)V99"
"""
