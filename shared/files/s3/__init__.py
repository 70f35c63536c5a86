"""Files in a bucket of an S3-compatible object store: signatures, requests, and the store on them."""
