//go:build tools

// What the binaries of this module are made of, so that `go mod tidy` keeps it.
package tools

import (
	_ "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"
)
