"""The books against the chains."""
