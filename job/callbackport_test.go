package job_test

import (
	"net/url"
	"testing"

	"github.com/voicemill/voicemill/job"
)

func TestCallbacksGoToTheirPorts(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]bool{
		"http://example.com": true, "https://example.com/x": true, "https://example.com:443": true, "http://example.com:443": true,
		"http://example.com:": true, "http://[2001:db8::1]:80/": true, "http://example.com:8080": true, "http://example.com:9": false,
		"https://example.com:8443": false, "http://example.com:0": false, "http://example.com:65536": false, "http://example.com:08080": true,
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := job.CallbackPort(u, job.CallbackPorts([]uint16{8080})); ok != want {
			t.Errorf("CallbackPort(%s) = %t; want %t", raw, ok, want)
		}
	}
}
