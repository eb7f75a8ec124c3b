package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/takeover"
)

// The names of the sockets, also for systemd's FileDescriptorName=.
const (
	clientsName = "gateway"
	adminName   = "admin"
)

// doors are the listening sockets: inherited ones, else new ones.
type doors struct{ clients, admin net.Listener }

func open(ctx context.Context, cfg gateway.Settings, in *takeover.Inherited) (*doors, error) {
	d := &doors{clients: in.Listener(clientsName), admin: in.Listener(adminName)}
	var err error
	if d.clients == nil {
		if d.clients, err = edge.Listen(ctx, cfg.Gateway.Listen); err != nil {
			d.close()
			return nil, fmt.Errorf("listen for clients: %w", err)
		}
	}
	if d.admin == nil {
		var lc net.ListenConfig
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

// handover is what the next process gets.
type handover struct {
	doors   *doors
	tickets *gateway.Tickets // nil if there are none of its own
}

// program is this one again.
func (h handover) program() takeover.Program {
	p := takeover.Program{Path: os.Args[0], Args: os.Args, Env: os.Environ()}
	if h.tickets != nil {
		p.Secret = h.tickets.Material()
	}
	return p
}

func (h handover) sockets() []takeover.Socket {
	return []takeover.Socket{{Name: clientsName, Listener: h.doors.clients}, {Name: adminName, Listener: h.doors.admin}}
}

// ownTickets returns the keys of session tickets, those of the process that is
// being replaced if there is one, or nil if this process needs none of its own.
func ownTickets(ctx context.Context, cfg gateway.TLS, in *takeover.Inherited, log *slog.Logger) (*gateway.Tickets, error) {
	if !cfg.KeepsTickets() {
		return nil, nil //nolint:nilnil // as documented
	}
	tickets, err := gateway.NewTickets(rand.Reader, in.Secret())
	if err != nil && tickets != nil {
		log.WarnContext(ctx, "sessions of the process before are not resumed", slog.Any("error", err))
		err = nil
	}
	return tickets, err
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
