// Package api is the contract with the outside: the OpenAPI description of
// every call, embedded, so that a service can serve it and a test can hold each
// request and answer against it. jobdoc below it is the job document that
// polls, lists and callbacks carry; client is the Go client.
package api

import _ "embed" // for the description

//go:embed openapi.yaml
var openAPI []byte

// OpenAPI returns the description of version 1 as YAML (OpenAPI 3.1). The
// caller must not change it.
func OpenAPI() []byte { return openAPI }
