"""Copies of all that an installation is, and the way back to work from one."""
