"""gRPC's standard services, generated from `protos/shared/rpc/standard/` by `make protos`: edit the protos, not these
files."""
