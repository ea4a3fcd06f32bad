"""Tokens of people and web pages: what an issuer has signed says who calls, and whose downline that caller sees.

In come the settings `[tokens]`, keys and a list of what is revoked, both followed, and what calls have as
`authorization`; out goes a `Bearer`: names for the policy, and the member of a leader. Signatures are the affair of the
library joserfc; which algorithms and claims count is said here. No token is ever written down: not in a log,
not in an error.
"""
