"""The admin API: its routes and the shapes of their bodies."""
