//go:build tools

// Names the programs that this module is for, so that `go mod tidy` keeps them.
package tools

import (
	_ "github.com/fullstorydev/grpcurl/cmd/grpcurl"
	_ "github.com/grpc-ecosystem/grpc-health-probe"
)
