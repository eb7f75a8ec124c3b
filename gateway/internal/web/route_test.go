package web

import (
	"fmt"
	"strings"
	"testing"
)

// FuzzRoute finds the route of whatever is a method and a path: a path that is
// percent-encoded is no other.
func FuzzRoute(f *testing.F) {
	for _, r := range Routes() {
		method, pattern, _ := strings.Cut(r, " ")
		f.Add(method, pattern)
	}
	f.Add("GET", "/v1/jobs/%2e%2e")
	f.Add("OPTIONS", "*")
	f.Add("BREW", "/v1/jobs")
	f.Add("GET", "/v1/%6Aobs/%6aob_x")
	f.Add("POST", "/v1/jobs%3Abatch")
	f.Add("GET", "/v1%2Fjobs/%256Aobs")
	table := routes()
	f.Fuzz(func(t *testing.T, method, path string) {
		var params, again [2]string
		r, allow := find(table, method, []byte(path), &params)
		if r != nil && allow == nil && r.method != method && (method != "HEAD" || r.method != "GET") {
			t.Fatalf("%q %q leads to %s %s", method, path, r.method, r.pattern)
		}
		if !strings.HasPrefix(path, "/") || strings.Contains(path, "%") {
			return
		}
		encoded := everyByte(path)
		other, others := find(table, method, []byte(encoded), &again)
		if other != r || strings.Join(others, " ") != strings.Join(allow, " ") || params != again {
			t.Fatalf("%q %q is another path than %q", method, encoded, path)
		}
	})
}

// everyByte percent-encodes all of a path but the slashes.
func everyByte(path string) string {
	var b strings.Builder
	for _, c := range []byte(path) {
		if c == '/' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}
