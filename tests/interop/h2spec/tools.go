//go:build tools

// Names the program that this module is for, so that `go mod tidy` keeps it.
package tools

import _ "github.com/summerwind/h2spec/cmd/h2spec"
