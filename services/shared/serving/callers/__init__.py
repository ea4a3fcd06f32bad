"""How much one caller may have of a port: calls under way, streams, calls a second.

In: who calls (a certificate's or a token's name, else an address), and when his call ends. Out: let in, or refused by a
status that names the setting. The cluster's own calls are not counted; where nobody shows who he is, they are counted
apart.
"""
