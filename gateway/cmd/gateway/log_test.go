package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/platform/embed/natsd"
	"github.com/voicemill/voicemill/platform/testkit"
)

// roleEnv makes the test binary a gateway, so that what ends a process can be tried.
const roleEnv = "GATEWAY_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) != "" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	// gnet keeps a pool for the life of the process, from its package's start on.
	testkit.Main(m, goleak.IgnoreTopFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"),
		goleak.IgnoreTopFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"))
}

// child is a gateway in a process of its own, and this end of its standard output.
type child struct {
	cmd  *exec.Cmd
	out  *os.File
	log  *bufio.Reader
	addr string
	done chan struct{} // closed when the process has ended
	err  error         // valid once done is closed
}

func startGateway(t *testing.T) *child {
	t.Helper()
	bucket := testkit.S3Config(t)
	nats, err := natsd.Start(t.Context(), natsd.Config{StoreDir: filepath.Join(t.TempDir(), "nats"), Listen: "127.0.0.1:0"}, testkit.Log(t))
	require.NoError(t, err)
	t.Cleanup(nats.Stop)
	read, write, err := os.Pipe()
	require.NoError(t, err)
	c := &child{cmd: exec.CommandContext(t.Context(), os.Args[0]), out: read, log: bufio.NewReader(read), done: make(chan struct{})} //nolint:gosec // the test itself
	c.cmd.Stdout, c.cmd.Stderr = write, os.Stderr
	c.cmd.Env = append(os.Environ(), roleEnv+"=1", "VOICEMILL_LISTEN=127.0.0.1:0", "VOICEMILL_ADMIN=127.0.0.1:0", "VOICEMILL_FFMPEG=",
		"VOICEMILL_DB_DSN="+testkit.PostgresDSN(t), "VOICEMILL_BUS_URL="+nats.URL(), "VOICEMILL_BLOB_ENDPOINT="+bucket.Endpoint,
		"VOICEMILL_BLOB_BUCKET="+bucket.Bucket, "VOICEMILL_BLOB_ACCESS_KEY="+bucket.AccessKey, "VOICEMILL_BLOB_SECRET_KEY="+bucket.SecretKey.Reveal())
	require.NoError(t, c.cmd.Start())
	require.NoError(t, write.Close())
	go func() { c.err = c.cmd.Wait(); close(c.done) }()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill() // it may have ended
		<-c.done
		_ = read.Close()
	})
	for c.addr == "" {
		line := c.line(t)
		if line["msg"] == "gateway ready" {
			c.addr, _ = line["address"].(string)
		}
	}
	return c
}

// line reads the next line of the log.
func (c *child) line(t *testing.T) (fields map[string]any) {
	t.Helper()
	require.NoError(t, c.out.SetReadDeadline(time.Now().Add(time.Minute)))
	b, err := c.log.ReadBytes('\n')
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &fields), "%.300s", b)
	return fields
}

// rest reads the log to its end and counts its lines of requests and those that
// it says were left out.
func (c *child) rest(t *testing.T) (requests, left int) {
	t.Helper()
	require.NoError(t, c.out.SetReadDeadline(time.Now().Add(time.Minute)))
	for {
		b, err := c.log.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return requests, left
		}
		require.NoError(t, err)
		var line struct {
			Msg     string
			LeftOut int `json:"left_out"`
		}
		require.NoError(t, json.Unmarshal(b, &line), "%.300s", b)
		left += line.LeftOut
		if line.Msg == "request" {
			requests++
		}
	}
}

// ask sends that many requests, whose lines are of a size, over one connection and
// waits for each answer.
func (c *child) ask(t *testing.T, times, lineBytes int) {
	t.Helper()
	nc, err := net.Dial("tcp", c.addr) //nolint:noctx // ends with the test
	require.NoError(t, err)
	defer func() { _ = nc.Close() }()
	require.NoError(t, nc.SetDeadline(time.Now().Add(time.Minute)))
	in := bufio.NewReader(nc)
	for range times {
		_, err := fmt.Fprintf(nc, "GET /%s HTTP/1.1\r\nHost: h\r\n\r\n", strings.Repeat("x", lineBytes-restBytes))
		require.NoError(t, err)
		resp, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusNotFound, resp.StatusCode)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
}

const restBytes = 500 // of a line beside the path, about

func (c *child) end(t *testing.T) {
	t.Helper()
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGTERM))
}

func TestAReaderOfTheLogThatHasGoneDoesNotEndTheGateway(t *testing.T) {
	t.Parallel()
	c := startGateway(t)
	require.NoError(t, c.out.Close())
	c.ask(t, 20, 1000)
	c.ask(t, 20, 1000)
	c.end(t)
	<-c.done
	require.NoError(t, c.err)
}

func TestAReaderOfTheLogThatDoesNotReadHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	c := startGateway(t)
	const many = 800 // more than 4 MiB
	c.ask(t, many, 8000)
	c.end(t)
	requests, left := c.rest(t)
	<-c.done
	require.NoError(t, c.err)
	require.Positive(t, left)
	require.Equal(t, many, requests+left)
}

func TestAStopLosesNoLineOfTheLog(t *testing.T) {
	t.Parallel()
	c := startGateway(t)
	const many = 200 // more than a pipe holds, less than the gateway does
	c.ask(t, many, 8000)
	c.end(t)
	requests, left := c.rest(t)
	<-c.done
	require.NoError(t, c.err)
	require.Zero(t, left)
	require.Equal(t, many, requests)
}

func TestAProcessThatIsReplacedLosesNoLineOfItsLog(t *testing.T) {
	t.Parallel()
	c := startGateway(t)
	const many = 200
	c.ask(t, many, 3000) // a pipe takes a line at once, so that two processes do not mix theirs
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGUSR2))
	requests, pid, ready := 0, 0, false
	for requests < many || pid == 0 || !ready {
		switch line := c.line(t); line["msg"] {
		case "request":
			requests++
		case "another process has taken over":
			n, _ := line["pid"].(float64)
			pid = int(n)
		case "gateway ready":
			ready = true
		}
	}
	<-c.done
	require.NoError(t, c.err)
	c.ask(t, 1, 1000)
	require.NoError(t, syscall.Kill(pid, syscall.SIGTERM))
	requests, left := c.rest(t) // ends with the process
	require.Equal(t, 1, requests)
	require.Zero(t, left)
}
