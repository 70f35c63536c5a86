//go:build tools

// Package tools names the programs that the tests build.
package tools

import (
	_ "github.com/docker/compose/v2/cmd"
)
