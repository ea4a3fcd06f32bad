"""What has to outlive the console of a drill: who was primary, and its member's name, from before the first change to
the cluster until all is undone. In comes a folder of the console's own; a console that starts there knows what one
before it left undone.
"""
