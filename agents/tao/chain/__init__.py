"""The chain: deployments, contract bindings, one sender per account, and a reader that rebuilds views."""
