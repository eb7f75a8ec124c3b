// Package apitest holds the traffic of tests against the contract, api/openapi.yaml.
// A [Transport] between an HTTP client and a server reads every exchange as it
// passes: a request that the server took must be one that the contract allows,
// and every answer must be described: its path, method, status, header fields,
// media type and body, to the last member. Events and lines of streams are held
// against the schema of one item while they are read. What the contract does not
// say is a [ContractError].
//
// A request that the server refuses needs no description, so tests may send what
// is wrong on purpose; the refusal is checked like any answer.
//
// It is for tests: no binary links it.
package apitest
