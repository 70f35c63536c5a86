"""The command line, the public Python client, and in `v1` the generated wire contract.

Nothing is imported here, so that every package can use `rookery.v1`.
"""
