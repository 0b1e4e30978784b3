"""Putting the parts together into processes, and the processes into one command."""
