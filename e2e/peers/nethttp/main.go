// Command nethttp is the benchmark's peer on Go's standard library.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/voicemill/voicemill/e2e/peers"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	addr := flag.String("addr", "127.0.0.1:0", "where to listen")
	cert := flag.String("cert", "", "certificate file; with it the server speaks TLS")
	key := flag.String("key", "", "key file")
	document := flag.String("job", "", "file with the document of the job")
	flag.Parse()

	body, err := peers.Load(*document)
	if err != nil {
		return err
	}
	s := &server{keys: peers.NewKeys(), download: peers.Download(), job: body, log: peers.NewLog(os.Stderr)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/jobs/{id}", s.status)
	mux.HandleFunc("POST /v1/jobs", s.submit)
	mux.HandleFunc("GET /v1/jobs/{id}/artifacts/{name}", s.artifact)
	mux.HandleFunc("GET /v1/jobs/{id}/live", s.live)

	listener, err := net.Listen("tcp", *addr) //nolint:noctx // it ends with the process
	if err != nil {
		return err
	}
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			return err
		}
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	}
	fmt.Println(listener.Addr())
	return http.Serve(listener, s.logged(s.authorized(mux))) //nolint:gosec // the load generator is trusted
}

type server struct {
	keys     *peers.Keys
	download []byte
	job      []byte
	log      *peers.Log
	served   atomic.Int64
}

// counting notes what was answered, for the log.
type counting struct {
	http.ResponseWriter
	status, bytes int
}

func (c *counting) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

func (c *counting) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.bytes += n
	return n, err
}

// Unwrap lets a WebSocket take the connection.
func (c *counting) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (s *server) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		c := counting{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(&c, r)
		now := time.Now()
		if s.log.Wants(now) {
			s.log.Write(&peers.Line{
				Method: r.Method, Path: r.URL.Path, Remote: r.RemoteAddr, Agent: r.UserAgent(),
				Status: c.status, BytesIn: int(r.ContentLength), BytesOut: c.bytes, Took: now.Sub(started),
			})
		}
	})
}

func (s *server) authorized(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.keys.Check([]byte(r.Header.Get("Authorization"))) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
		s.served.Add(1)
	})
}

func (s *server) status(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, s.job) }

func (s *server) submit(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil || peers.Submit(body) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	answer(w, http.StatusAccepted, peers.Accepted)
}

func (s *server) artifact(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "audio/wav")
	w.Header().Set("Content-Length", strconv.Itoa(len(s.download)))
	_, _ = w.Write(s.download)
}

func (s *server) live(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }()
	for {
		kind, data, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), kind, data); err != nil {
			return
		}
	}
}

func answer(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
