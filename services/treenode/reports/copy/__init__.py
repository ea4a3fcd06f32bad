"""Members out of the tree, as of one position, while updates wait as little as can be.

A plan enters, through `NodeReader`: on the event loop for a few members, else in a thread while the gate keeps the tree
still. `FrozenRows` leave, which no update changes, and the `as_of` that was noted at the same moment.
"""
