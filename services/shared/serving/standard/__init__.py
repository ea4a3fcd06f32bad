"""What every gRPC server has beside its own services, for load balancers and stock tools (health, reflection's names),
and what it does around every handler: guard, write down, count, turn errors into statuses.

In come names that serve or don't, and handlers; out go answers, as messages and as bytes that are there already, and
handlers as a server calls them.
"""
