"""The admin API: its routes, and the models of their bodies."""
