"""How a node follows the pusher's log: the stream, its records applied in slices, and the step from tree to tree."""
