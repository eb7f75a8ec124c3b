package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/ffmpeg"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/voicemill/internal/demobook"
	"github.com/voicemill/voicemill/voicemill/internal/up"
	"github.com/voicemill/voicemill/worker"
)

const (
	callbackWait = 30 * time.Second
	grace        = 60 * time.Second
	earShare     = 0.05 // of the book is heard back, so that two CPUs are done in time
)

// Config is what the demo can be told.
type Config struct {
	Keep bool   `help:"Leave everything running afterwards, until Ctrl-C."`
	Data string `type:"path" placeholder:"DIR" help:"Folder for state and audio; default a new one below the system's temporary folder."`
}

// Deps are what the demo works with.
type Deps struct {
	Out     io.Writer
	Log     *slog.Logger
	Version string // of the program

	// Command runs one client command of voicemill, such as "submit", with the
	// environment given, and returns its exit code.
	Command func(ctx context.Context, env map[string]string, args ...string) int

	// Secret returns the secret that callbacks are signed with.
	Secret func(ctx context.Context, env map[string]string) (string, error)
}

// errCommand says that a step failed, which has told its reason itself.
var errCommand = errors.New("the demo's command failed")

// Run shows the main job: it starts everything, submits the book, follows it,
// takes the callback and fetches the files.
func Run(ctx context.Context, cfg Config, deps Deps) error {
	dir, err := folder(cfg.Data)
	if err != nil {
		return err
	}
	settings := up.DefaultConfig()
	settings.Data = filepath.Join(dir, "data")
	settings.Gateway.Listen, settings.Admin, settings.S3Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	settings.Gateway.CallbackAllowPrivate, settings.Scheduler.Callback.AllowPrivate = true, true // the receiver is on this machine
	settings.Gateway.AccessLog = false
	settings.Worker.Ear.EarShare = earShare

	ready := make(chan up.Running, 1)
	var stack lifecycle.Stack
	stack.Add("voicemill", func(ctx context.Context) error {
		return up.Run(ctx, settings, up.Deps{Log: deps.Log, Version: deps.Version, Ready: func(r up.Running) { ready <- r }})
	})
	stack.Add("story", func(ctx context.Context) error {
		select {
		case r := <-ready:
			return tell(ctx, cfg, deps, dir, r)
		case <-ctx.Done():
			return nil
		}
	})
	return stack.Run(ctx, grace)
}

// folder returns the demo's folder. Postgres runs as another user when the demo
// runs as root, so others may pass through it.
func folder(dir string) (string, error) {
	if dir == "" {
		made, err := os.MkdirTemp("", "voicemill-demo-")
		if err != nil {
			return "", fmt.Errorf("make a folder for the demo: %w", err)
		}
		dir = made
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // see above
		return "", fmt.Errorf("make the demo's folder: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // see above
		return "", fmt.Errorf("open the demo's folder: %w", err)
	}
	return dir, nil
}

// tell goes through the story of one job.
func tell(ctx context.Context, cfg Config, deps Deps, dir string, r up.Running) error {
	key, err := os.ReadFile(r.KeyFile)
	if err != nil {
		return fmt.Errorf("read the first key: %w", err)
	}
	env := map[string]string{"VOICEMILL_URL": r.URL, "VOICEMILL_KEY": strings.TrimSpace(string(key))}
	say(deps.Out, "voicemill is up in %d ms: gateway, scheduler and worker with NATS, S3 and Postgres, in one process.\n", r.Took.Milliseconds())

	book, err := writeBook(dir)
	if err != nil {
		return err
	}
	secret, err := deps.Secret(ctx, env)
	if err != nil {
		return err
	}
	inbox, err := newReceiver(ctx, secret, deps.Log)
	if err != nil {
		return err
	}
	receiving, stop := context.WithCancel(ctx)
	received := make(chan error, 1)
	go func() { received <- inbox.Run(receiving) }()
	defer func() {
		stop()
		if err := <-received; err != nil {
			deps.Log.WarnContext(ctx, "the callback receiver failed", slog.Any("error", err))
		}
	}()

	began, formats := time.Now(), audiobook(ctx)
	if err := step(ctx, deps, env, slices.Concat([]string{"submit", book}, formats, []string{"--callback", inbox.URL(), "--label", "from=demo", "--wait"}, verify())...); err != nil {
		return err
	}
	say(deps.Out, "\nThe whole book took %.1f s.", time.Since(began).Seconds())
	id, err := callback(ctx, deps.Out, inbox)
	if err != nil {
		return err
	}
	audio := filepath.Join(dir, "audio")
	if err := step(ctx, deps, env, "get", id, "--out", audio); err != nil {
		return err
	}
	if err := list(deps.Out, audio); err != nil {
		return err
	}
	if len(formats) > 0 {
		say(deps.Out, "\nThe audiobook, one file with its chapters:  %s", filepath.Join(audio, "book.m4b"))
	}
	say(deps.Out, "\nOther voices: `voicemill voices` lists what is here, `voicemill models list` what can be installed.")
	if cfg.Keep {
		say(deps.Out, "\nEverything keeps running until Ctrl-C. In another terminal:\n\n  export VOICEMILL_URL=%s\n  export VOICEMILL_KEY=$(cat %s)\n  voicemill list\n", r.URL, r.KeyFile)
		<-ctx.Done()
	}
	return nil
}

// verify has a sample of the book heard back, where something can hear.
func verify() []string {
	if _, err := worker.DefaultEarConfig().FindEar(""); err != nil {
		return nil
	}
	return []string{"--verify", "sample"}
}

// audiobook asks for an M4B, and for a book that reads along, where they can be made.
func audiobook(ctx context.Context) []string {
	program, err := ffmpeg.Find(ctx, "ffmpeg")
	if err != nil || len(worker.LackingEncoders(program)) > 0 {
		return nil
	}
	return []string{"--format", job.FormatM4B, "--read-along"}
}

func writeBook(dir string) (string, error) {
	path := filepath.Join(dir, demobook.FileName)
	f, err := os.Create(path) //nolint:gosec // the demo's own folder
	if err != nil {
		return "", fmt.Errorf("write the book: %w", err)
	}
	if err := errors.Join(demobook.Write(f), f.Close()); err != nil {
		return "", fmt.Errorf("write the book: %w", err)
	}
	return path, nil
}

// step shows a command as a person would type it, and runs it.
func step(ctx context.Context, deps Deps, env map[string]string, args ...string) error {
	say(deps.Out, "\n$ voicemill %s", strings.Join(args, " "))
	if code := deps.Command(ctx, env, args...); code != 0 {
		return fmt.Errorf("%w: voicemill %s ended with %d", errCommand, args[0], code)
	}
	return nil
}

// callback waits for the event that ends the job, shows it and returns the job's id.
func callback(ctx context.Context, out io.Writer, inbox *receiver) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callbackWait, fmt.Errorf("no callback came within %s", callbackWait))
	defer cancel()
	c, err := inbox.Wait(ctx)
	if err != nil {
		return "", err
	}
	id, err := c.job()
	if err != nil {
		return "", err
	}
	say(out, "\nThe callback came, and its signature is right:\n  webhook-id         %s\n  webhook-signature  %s\n  type               %s\n  data.id            %s",
		c.ID, c.Signature, c.Type, id)
	return id, nil
}

// say prints a line. A terminal that is gone is no reason to stop.
func say(out io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }
