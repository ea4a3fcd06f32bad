"""What an operator does with the nodes of a cluster: look, switch over, pause, compare, rehearse."""
