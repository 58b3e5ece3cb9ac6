// Package crds pins the version of the Gateway API whose CRDs the workbench
// applies; go.sum pins their content. Nothing of it is compiled: the harness
// asks `go mod download` where the module's files are.
package crds

import _ "sigs.k8s.io/gateway-api/pkg/consts"
