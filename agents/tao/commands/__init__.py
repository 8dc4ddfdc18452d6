"""Thin commands over the roles."""
