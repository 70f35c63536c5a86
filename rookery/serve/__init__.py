"""Composition: opens engines and roles from the settings, and runs them as a process."""
