"""Personal values at the pusher: taken out of updates before they are records, kept, erased, given to nodes.

Pushed updates enter and leave with tokens in the place of values; the erasure of a member enters, and a record of it
leaves for the log; nodes ask for the vault's changes. What the vault is says `services/shared/personal`.
"""
