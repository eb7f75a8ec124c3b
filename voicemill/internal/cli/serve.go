package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/telemetry"
	"github.com/voicemill/voicemill/platform/weights"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
	"github.com/voicemill/voicemill/voicemill/internal/demo"
	"github.com/voicemill/voicemill/voicemill/internal/doctor"
	"github.com/voicemill/voicemill/voicemill/internal/up"
)

// UpCommand runs everything in one process. It reads its flags as the services
// read theirs when they run apart.
type UpCommand struct {
	Args []string `arg:"" optional:"" help:"Settings; voicemill up --help lists them."`
}

// upSettings are what `voicemill up` can be told.
type upSettings struct {
	JSON bool      `name:"json" flag:"only" help:"Write what is known once everything serves as one line of JSON."`
	Up   up.Config `embed:""`
}

// Validate looks at the files that the settings name.
func (s *upSettings) Validate() error { return s.Up.Validate() }

// Run serves until it is told to stop.
func (c *UpCommand) Run(ctx context.Context, con *console.Console) error {
	var cfg upSettings
	unread, err := config.Parse(&cfg, config.Source{
		Name: "voicemill up", Description: "Runs everything in one process.", Args: c.Args, Env: con.Environ, Stdout: con.Out,
	})
	switch {
	case errors.Is(err, config.ErrDone):
		return nil
	case errors.Is(err, config.ErrUsage):
		return usagef("%w.\nSee `voicemill up --help`", err)
	case err != nil:
		return ownFault(err)
	}
	con.JSON = con.JSON || cfg.JSON
	lines, err := telemetry.NewLines(con.Err, cfg.Up.LogLevel, cfg.Up.LogFormat)
	if err != nil {
		return usagef("%w", err)
	}
	defer lines.Close()
	telemetry.SurviveReaders()
	config.WarnUnread(ctx, lines.Logger(), unread)
	return ownFault(up.Run(ctx, cfg.Up, up.Deps{Log: lines.Logger(), Version: con.Version, Lost: lines.Lost, Ready: func(r up.Running) {
		if con.JSON {
			_ = con.Document(r)
			return
		}
		_ = up.Screen(con.Out, r)
	}}))
}

// ownFault keeps an error of a service in this process, such as an address that
// is taken, from being told as one of a server that does not answer.
func ownFault(err error) error {
	var told *ExitError
	if err == nil || errors.Is(err, context.Canceled) || errors.As(err, &told) {
		return err
	}
	return &ExitError{Code: ExitUnexpected, Err: errors.New(err.Error())}
}

// DemoCommand shows the main job.
type DemoCommand struct {
	demo.Config `embed:""`
}

// Run runs the demo.
func (c *DemoCommand) Run(ctx context.Context, con *console.Console) error {
	log, err := telemetry.NewLogger(con.Err, "warn", "text")
	if err != nil {
		return err
	}
	return demo.Run(ctx, c.Config, demo.Deps{
		Out: con.Out, Log: log, Version: con.Version,
		Command: func(ctx context.Context, env map[string]string, args ...string) int {
			return Run(ctx, args, &console.Console{
				In: con.In, Out: con.Out, Err: con.Err, Version: con.Version,
				Getenv: func(name string) string {
					if v, ok := env[name]; ok {
						return v
					}
					return con.Getenv(name)
				},
			})
		},
		Secret: callbackSecret,
	})
}

func callbackSecret(ctx context.Context, env map[string]string) (string, error) {
	calls, err := client.New(client.Config{URL: env["VOICEMILL_URL"], Key: env["VOICEMILL_KEY"]})
	if err != nil {
		return "", err
	}
	secret, err := calls.CallbackSecret(ctx)
	if err != nil {
		return "", fmt.Errorf("ask for the callback secret: %w", err)
	}
	return secret, nil
}

// DoctorCommand checks the machine.
type DoctorCommand struct {
	Data string `default:"voicemill-data" type:"path" help:"Folder that voicemill up would keep its state in."`
}

// Run prints what was found; something required that is missing is a failure.
func (c *DoctorCommand) Run(ctx context.Context, con *console.Console) error {
	models := con.Getenv("VOICEMILL_MODELS_DIR")
	if models == "" {
		models = weights.DefaultDir()
	}
	findings := doctor.Check(ctx, c.Data, models, con.Getenv("VOICEMILL_BUCKET_KEYS"))
	if con.JSON {
		if err := con.Document(findings); err != nil {
			return err
		}
	} else if err := doctor.Print(con.Out, findings); err != nil {
		return err
	}
	if !doctor.Healthy(findings) {
		return &ExitError{Code: ExitUnexpected}
	}
	return nil
}
