package export_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/embed/s3d"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/scheduler/internal/export"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// What this program does in place of tests if one of these is set.
const (
	childWorks  = "VOICEMILL_EXPORT_CHILD" // delivers until it is killed
	childServes = "VOICEMILL_EXPORT_S3"    // is an S3 server until its standard input ends
)

func TestMain(m *testing.M) {
	var err error
	switch {
	case os.Getenv(childWorks) != "":
		err = work(os.Getenv(childWorks))
	case os.Getenv(childServes) != "":
		err = serve(os.Getenv(childServes))
	default:
		testkit.Main(m) // the second server ends when its standard input does, with this process
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// server is where an S3 server is.
type server struct {
	Dir, Endpoint, Region, AccessKey, SecretKey string
}

// serve runs an S3 server: a process has room for one, and the tests' own is another.
func serve(dir string) error {
	ctx := context.Background()
	s, err := s3d.Start(ctx, s3d.Config{DataDir: dir}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	cred := s.Credentials()
	err = json.NewEncoder(os.Stdout).Encode(server{dir, s.Endpoint(), s.Region(), cred.AccessKey, cred.SecretKey.Reveal()})
	_, rerr := io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, rerr, s.Stop(ctx), os.RemoveAll(filepath.Dir(dir)))
}

// second starts the second S3 server of the tests, once.
func second(t *testing.T) server {
	t.Helper()
	s, err := started()
	require.NoError(t, err)
	return s
}

// kept holds the pipe to the second server, which ends when that is closed.
var kept io.Closer

var started = sync.OnceValues(func() (s server, err error) {
	dir, err := os.MkdirTemp("", "voicemill-export-")
	if err != nil {
		return s, err
	}
	cmd := exec.CommandContext(context.Background(), os.Args[0]) //nolint:gosec // this program
	cmd.Env = append(os.Environ(), childServes+"="+filepath.Join(dir, "s3"))
	cmd.Stderr = os.Stderr
	if kept, err = cmd.StdinPipe(); err != nil {
		return s, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return s, err
	}
	if err = cmd.Start(); err != nil {
		return s, err
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		return s, err
	}
	err = json.Unmarshal(line, &s)
	return s, err
})

// works is what a child that delivers works with.
type works struct {
	DSN, Endpoint, Region, Bucket, AccessKey, SecretKey string
}

func work(raw string) error {
	var w works
	if err := json.Unmarshal([]byte(raw), &w); err != nil {
		return err
	}
	ctx, log := context.Background(), slog.New(slog.DiscardHandler)
	db, err := pg.Connect(ctx, pg.Config{DSN: config.NewSecret(w.DSN), MaxConns: 4}, log)
	if err != nil {
		return err
	}
	own, err := blob.Open(ctx, blob.Config{Endpoint: w.Endpoint, Region: w.Region, Bucket: w.Bucket, AccessKey: w.AccessKey, SecretKey: config.NewSecret(w.SecretKey)})
	if err != nil {
		return err
	}
	st, err := store.New(db, rand.Reader)
	if err != nil {
		return err
	}
	d, err := export.New(quick(), export.Deps{Log: log, Source: own, Foreign: near, Changed: func(job.ID, int64) {}, Observe: func(string) {}})
	if err != nil {
		return err
	}
	return d.Run(ctx, st.Under(pg.Lease{Name: "storetest", Epoch: 1}))
}
