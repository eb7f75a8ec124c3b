package services

import (
	"context"
	"fmt"
	"io"
	"net"
	"regexp"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/embed/natsd"
	"github.com/voicemill/voicemill/platform/testkit"
)

// Backing starts what the services need, for the test alone, and returns the
// environment that has them find it: over TCP, from whatever root they run in.
func Backing(tb testing.TB) map[string]string {
	tb.Helper()
	bus, err := natsd.Start(tb.Context(), natsd.Config{StoreDir: tb.TempDir(), Listen: "127.0.0.1:0"}, testkit.Log(tb))
	require.NoError(tb, err)
	tb.Cleanup(bus.Stop)
	bucket := testkit.S3Config(tb)
	return map[string]string{
		"VOICEMILL_DB_DSN": overTCP(tb, testkit.PostgresDSN(tb)), "VOICEMILL_BUS_URL": bus.URL(),
		"VOICEMILL_BLOB_ENDPOINT": bucket.Endpoint, "VOICEMILL_BLOB_BUCKET": bucket.Bucket,
		"VOICEMILL_BLOB_ACCESS_KEY": bucket.AccessKey, "VOICEMILL_BLOB_SECRET_KEY": bucket.SecretKey.Reveal(),
	}
}

// overTCP makes a Postgres that has a Unix socket only reachable over TCP.
func overTCP(tb testing.TB, dsn string) string {
	tb.Helper()
	place := regexp.MustCompile(`host='([^']+)' port=(\d+)`)
	found := place.FindStringSubmatch(dsn)
	require.Len(tb, found, 3, "the tests' Postgres has a socket in a folder")
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed with the test
	require.NoError(tb, err)
	ctx, cancel := context.WithCancel(context.Background())
	var relays sync.WaitGroup
	relays.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			relays.Go(func() { relay(ctx, client, found[1]+"/.s.PGSQL."+found[2]) })
		}
	})
	tb.Cleanup(func() { cancel(); _ = l.Close(); relays.Wait() })
	host, port, _ := net.SplitHostPort(l.Addr().String()) // an address of a listener
	return place.ReplaceAllString(dsn, fmt.Sprintf("host=%s port=%s", host, port))
}

// relay carries bytes both ways until one side is closed or ctx is done.
func relay(ctx context.Context, client net.Conn, socket string) {
	defer func() { _ = client.Close() }()
	var d net.Dialer
	postgres, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return
	}
	hangUp := func() { _ = client.Close(); _ = postgres.Close() }
	defer context.AfterFunc(ctx, hangUp)()
	var back sync.WaitGroup
	back.Go(func() { _, _ = io.Copy(client, postgres); hangUp() })
	_, _ = io.Copy(postgres, client)
	hangUp()
	back.Wait()
}
