package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/voicemill/voicemill/platform/embed/natsd"
	"github.com/voicemill/voicemill/platform/embed/pgd"
	"github.com/voicemill/voicemill/platform/embed/s3d"
)

// The environment that turns a test binary into one of the servers.
const (
	roleEnv   = "VOICEMILL_STAGE_ROLE"
	dirEnv    = "VOICEMILL_STAGE_DIR"
	listenEnv = "VOICEMILL_STAGE_LISTEN"
)

// address is what a server prints, as one line of JSON, when it serves.
type address struct {
	Endpoint  string `json:"endpoint"`
	AccessKey string `json:"access_key,omitempty"`
	SecretKey string `json:"secret_key,omitempty"`
}

// Main is what every TestMain ends with: it runs the server that the environment
// asks for, if it asks for one; else it builds the commands into a folder, whose
// name it stores in bin, runs the tests and removes the folder. It returns the
// exit code.
func Main(m *testing.M, bin *string) int {
	if code, played := runRole(); played {
		return code
	}
	dir, err := os.MkdirTemp("", "voicemill-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // some tests run the commands as another user
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := Build(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	*bin = dir
	return m.Run()
}

// runRole runs the server that the environment asks for, if it asks for one, and
// reports whether it did, with the exit code.
func runRole() (code int, played bool) {
	role := os.Getenv(roleEnv)
	if role == "" {
		return 0, false
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if err := play(ctx, role, os.Getenv(dirEnv), os.Getenv(listenEnv), os.Stdout, log); err != nil {
		fmt.Fprintln(os.Stderr, role+":", err)
		return 1, true
	}
	return 0, true
}

func play(ctx context.Context, role, dir, listen string, out io.Writer, log *slog.Logger) error {
	say := json.NewEncoder(out)
	switch role {
	case "nats":
		s, err := natsd.Start(ctx, natsd.Config{StoreDir: dir, Listen: listen}, log)
		if err != nil {
			return err
		}
		if err := say.Encode(address{Endpoint: s.URL()}); err != nil {
			return err
		}
		return s.Run(ctx)
	case "postgres":
		s, err := pgd.Start(ctx, pgd.Config{DataDir: dir}, log)
		if err != nil {
			return err
		}
		if err := say.Encode(address{Endpoint: s.DSN()}); err != nil {
			return err
		}
		return s.Run(ctx)
	case "s3":
		s, err := s3d.Start(ctx, s3d.Config{DataDir: dir, Listen: listen}, log)
		if err != nil {
			return err
		}
		keys := s.Credentials()
		if err := say.Encode(address{Endpoint: s.Endpoint(), AccessKey: keys.AccessKey, SecretKey: keys.SecretKey.Reveal()}); err != nil {
			return err
		}
		return s.Run(ctx)
	}
	return fmt.Errorf("there is no role %q", role)
}
