"""The API server of the Kubernetes cluster that a service runs in, asked by the pod's own service account.

In come paths and objects; out go objects as the API server has them, or one error that says what was asked and the
mend. Nothing here knows what the objects are for.
"""
