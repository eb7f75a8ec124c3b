package blobtest

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/voicemill/voicemill/platform/blob"
)

func request(t *testing.T, method, url string, body []byte, header http.Header) (int, []byte, http.Header) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	return res.StatusCode, got, res.Header
}

func presignedGet(t *testing.T, s *blob.Store) {
	t.Helper()
	want := pattern(5000)
	put(t, s, "t/chapter-001.wav", want)
	url, err := s.PresignGet(t.Context(), "t/chapter-001.wav", time.Hour, "Kapitel »eins«.wav")
	if err != nil {
		t.Fatal(err)
	}
	code, got, header := request(t, http.MethodGet, url, nil, nil)
	if code != http.StatusOK || !bytes.Equal(got, want) {
		t.Errorf("GET = %d, %d bytes", code, len(got))
	}
	if d := header.Get("Content-Disposition"); !strings.HasPrefix(d, "attachment") || strings.ContainsAny(d, "\r\n»") {
		t.Errorf("Content-Disposition = %q", d)
	}
	if code, got, _ := request(t, http.MethodGet, url, nil, http.Header{"Range": {"bytes=10-19"}}); code != http.StatusPartialContent || !bytes.Equal(got, want[10:20]) {
		t.Errorf("GET of a range = %d, %d bytes", code, len(got))
	}
	if code, _, _ := request(t, http.MethodGet, strings.Replace(url, "chapter-001", "chapter-002", 1), nil, nil); code != http.StatusForbidden {
		t.Errorf("GET with another key = %d; want 403", code)
	}
	plain, _, _ := strings.Cut(url, "?")
	if code, _, _ := request(t, http.MethodGet, plain, nil, nil); code != http.StatusForbidden {
		t.Errorf("GET without a signature = %d; want 403", code)
	}
}

func presignedPut(t *testing.T, s *blob.Store) {
	t.Helper()
	want := pattern(300_000)
	url, fields, err := s.PresignPut(t.Context(), "uploads/t/upl_1", time.Hour, "application/epub+zip", int64(len(want)))
	if err != nil {
		t.Fatal(err)
	}
	header := make(http.Header)
	for name, value := range fields {
		header.Set(name, value)
	}
	if code, _, _ := request(t, http.MethodPut, url, want[1:], header); code != http.StatusForbidden {
		t.Errorf("PUT of another size = %d; want 403", code)
	}
	if code, _, _ := request(t, http.MethodPut, url, want, http.Header{"Content-Type": {"text/plain"}, "If-None-Match": {"*"}}); code != http.StatusForbidden {
		t.Errorf("PUT of another type = %d; want 403", code)
	}
	if code, body, _ := request(t, http.MethodPut, url, want, header); code != http.StatusOK {
		t.Fatalf("PUT = %d: %s", code, body)
	}
	if code, _, _ := request(t, http.MethodPut, url, want, header); code != http.StatusPreconditionFailed {
		t.Errorf("a second PUT = %d; want 412", code)
	}
	if got, _ := get(t, s, "uploads/t/upl_1", blob.GetOptions{}); !bytes.Equal(got, want) {
		t.Errorf("%d bytes came back different from the %d that were put", len(got), len(want))
	}
	if code, _, _ := request(t, http.MethodPut, strings.Replace(url, "upl_1", "upl_2", 1), want, header); code != http.StatusForbidden {
		t.Errorf("PUT with another key = %d; want 403", code)
	}
}

func sweep(t *testing.T, s *blob.Store) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	pr, pw := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := s.Put(ctx, "t/half.wav", pr, -1, blob.PutOptions{})
		ended <- err
	}()
	if _, err := pw.Write(pattern(6 << 20)); err != nil { // one part and the beginning of the next
		t.Fatal(err)
	}
	n, err := s.SweepUploads(t.Context(), time.Now().Add(-time.Hour))
	if err != nil || n != 0 {
		t.Errorf("SweepUploads of old ones = %d, %v; want 0", n, err)
	}
	n, err = s.SweepUploads(t.Context(), time.Now().Add(time.Hour))
	if err != nil || n != 1 {
		t.Errorf("SweepUploads = %d, %v; want 1", n, err)
	}
	cancel()
	_ = pw.CloseWithError(io.ErrClosedPipe)
	if err := <-ended; err == nil {
		t.Error("the upload that was swept succeeded")
	}
}
