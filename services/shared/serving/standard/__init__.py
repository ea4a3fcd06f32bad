"""What every gRPC server has beside its own services, for load balancers and stock tools: health, reflection's names.

In come names that serve or don't; out go answers, as messages and as bytes that are there already.
"""
