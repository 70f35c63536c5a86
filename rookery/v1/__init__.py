"""The wire contract, generated from `protos/rookery/v1/` by `make protos`: edit the protos, not these files."""
