//go:build tools

// What the binaries of this module are made of, so that `go mod tidy` keeps it.
package tools

import (
	_ "helm.sh/helm/v4/cmd/helm"
)
