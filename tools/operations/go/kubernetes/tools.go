//go:build tools

// Package tools names the programs that the tests build.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
)
