package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/voicemill/voicemill/gateway/internal/takeover"
)

// The names of the sockets, also for systemd's FileDescriptorName=.
const (
	clientsName = "gateway"
	adminName   = "admin"
)

// doors are the listening sockets: inherited ones, else new ones.
type doors struct{ clients, admin net.Listener }

func open(ctx context.Context, cfg settings, in *takeover.Inherited) (*doors, error) {
	d := &doors{clients: in.Listener(clientsName), admin: in.Listener(adminName)}
	var lc net.ListenConfig
	var err error
	if d.clients == nil {
		if d.clients, err = lc.Listen(ctx, "tcp", cfg.Gateway.Listen); err != nil {
			d.close()
			return nil, fmt.Errorf("listen for clients: %w", err)
		}
	}
	if d.admin == nil {
		if d.admin, err = lc.Listen(ctx, "tcp", cfg.Admin); err != nil {
			d.close()
			return nil, fmt.Errorf("listen on the admin port: %w", err)
		}
	}
	return d, nil
}

// close closes what is open still; those who serve close theirs.
func (d *doors) close() {
	for _, l := range []net.Listener{d.clients, d.admin} {
		if l != nil {
			_ = l.Close()
		}
	}
}

// ready tells whoever waits for this process that it serves. The file appears
// whole: a reader never finds half a number.
func ready(in *takeover.Inherited, pidFile string) error {
	var err error
	if pidFile != "" {
		temp := filepath.Join(filepath.Dir(pidFile), "."+filepath.Base(pidFile)+"-"+strconv.Itoa(os.Getpid()))
		err = os.WriteFile(temp, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644) //nolint:gosec // for others to read
		if err == nil {
			err = os.Rename(temp, pidFile)
		}
	}
	return errors.Join(err, in.Ready())
}
