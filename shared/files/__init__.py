"""The bytes of files. `protocol.py` is the contract, with two twins: a folder, and an S3-compatible object store."""
