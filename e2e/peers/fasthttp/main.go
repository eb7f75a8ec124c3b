// Command fasthttp is the benchmark's peer on valyala/fasthttp.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

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
	srv := &fasthttp.Server{Handler: s.logged, Name: "peer", NoDefaultServerHeader: true, MaxRequestBodySize: 1 << 20}
	listener, err := net.Listen("tcp", *addr) //nolint:noctx // it ends with the process
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	if *cert != "" {
		return srv.ServeTLS(listener, *cert, *key)
	}
	return srv.Serve(listener)
}

type server struct {
	keys     *peers.Keys
	download []byte
	job      []byte
	log      *peers.Log
	served   atomic.Int64
}

func (s *server) logged(ctx *fasthttp.RequestCtx) {
	s.handle(ctx)
	now := time.Now()
	if s.log.Wants(now) {
		s.log.Write(&peers.Line{
			Method: string(ctx.Method()), Path: string(ctx.Path()), Remote: ctx.RemoteAddr().String(), Agent: string(ctx.UserAgent()),
			Status: ctx.Response.StatusCode(), BytesIn: len(ctx.PostBody()), BytesOut: len(ctx.Response.Body()), Took: now.Sub(ctx.Time()),
		})
	}
}

func (s *server) handle(ctx *fasthttp.RequestCtx) {
	if !s.keys.Check(ctx.Request.Header.Peek("Authorization")) {
		ctx.SetStatusCode(fasthttp.StatusUnauthorized)
		return
	}
	s.served.Add(1)
	rest, ok := bytes.CutPrefix(ctx.Path(), []byte("/v1/jobs"))
	id, tail, _ := bytes.Cut(bytes.TrimPrefix(rest, []byte("/")), []byte("/"))
	switch {
	case !ok:
		ctx.SetStatusCode(fasthttp.StatusNotFound)
	case len(id) == 0 && ctx.IsPost():
		if peers.Submit(ctx.PostBody()) != nil {
			ctx.SetStatusCode(fasthttp.StatusBadRequest)
			return
		}
		answer(ctx, fasthttp.StatusAccepted, peers.Accepted)
	case len(id) > 0 && len(tail) == 0 && ctx.IsGet():
		answer(ctx, fasthttp.StatusOK, s.job)
	case len(id) > 0 && bytes.HasPrefix(tail, []byte("artifacts/")) && ctx.IsGet():
		ctx.SetContentType("audio/wav")
		ctx.Response.SetBodyRaw(s.download)
	default:
		ctx.SetStatusCode(fasthttp.StatusNotFound)
	}
}

func answer(ctx *fasthttp.RequestCtx, status int, body []byte) {
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/json")
	ctx.Response.SetBodyRaw(body)
}
