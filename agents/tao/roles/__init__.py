"""The roles: loops that read a view, decide and do. All but a cache is rebuilt from chain and store."""
