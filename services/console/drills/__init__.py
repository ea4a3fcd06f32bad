"""What has to outlive the console or the command of a drill: who was primary, and its member's name, from before the
first change to the cluster until all is undone. In comes a folder of its own; whoever comes to it next knows what one
before it left undone.
"""
