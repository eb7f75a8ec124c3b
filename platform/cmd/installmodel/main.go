// Command installmodel installs neural models without the rest of voicemill:
// scripts/setup runs it before anything is built. Everybody else has
// `voicemill models install`.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"

	"github.com/voicemill/voicemill/platform/weights"
	"github.com/voicemill/voicemill/platform/weights/registry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:gocritic // the signal's context ends with the process
	}
}

func run(ctx context.Context, names []string) error {
	catalogue, err := weights.OpenCatalogue(os.Getenv("VOICEMILL_MODELS_CATALOGUE"))
	if err != nil {
		return err
	}
	dir := os.Getenv("VOICEMILL_MODELS_DIR")
	if dir == "" {
		dir = weights.DefaultDir()
	}
	registries := registry.Find(os.Getenv)
	client, err := registries.Client()
	if err != nil {
		return err
	}
	i := weights.Installer{
		Store: weights.Open(dir), Catalogue: catalogue, Registries: registries, Client: client, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	for _, name := range names {
		made, err := i.Install(ctx, name)
		if err != nil {
			return err
		}
		for _, m := range made {
			fmt.Fprintf(os.Stderr, "installed %s %s (%s) in %s\n", m.Name, m.Version, m.Licence, dir)
		}
	}
	return nil
}
