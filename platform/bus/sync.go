package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/voicemill/voicemill/job"
)

const (
	serverInfo     = "$SYS.REQ.SERVER.PING.JSZ"
	monitorPath    = "/jsz"
	monitorPort    = "8222"
	monitorTimeout = time.Second
	answerBytes    = 1 << 20
	quiet          = 300 * time.Millisecond // after an answer without another: there is none
	unseenWait     = 5 * time.Second        // for a server that listens to clients before it tells of itself
	lookAgain      = time.Minute
	mostServers    = 100
)

var errNoLeader = errors.New("the cluster of NATS servers has no leader yet")

var errUnseen = errors.New("no NATS server could be asked whether it syncs each message: " +
	"let the account ask " + serverInfo + ", or name the servers' monitoring addresses (bus-monitor), " +
	"or, if sync_interval is always on every server, say so (bus-sync=" + SyncAssured + ")")

// unsyncedError names the servers that acknowledge what a power cut can take back.
type unsyncedError struct{ servers []string }

func (e *unsyncedError) Error() string {
	return fmt.Sprintf("NATS does not sync each message to disk, so a power cut loses accepted jobs: %s; "+
		"set jetstream { sync_interval: always } on every server, or run on regardless (bus-sync=%s)", strings.Join(e.servers, ", "), SyncUnsafe)
}

// view is what the servers told of themselves when they were last asked.
type view struct {
	at       time.Time
	seen     bool     // at least one told
	told     int      // how many did
	size     int      // servers of the cluster; 1 without one
	forming  bool     // the cluster has no leader yet, so size is not the last word
	unsynced []string // servers that do not sync each message
}

// copies is how many copies a new stream gets.
func (v view) copies(waited time.Duration) int {
	if v.seen && v.size < clusterCopies && !v.forming && (v.size == 1 || waited > thirdServerWait) {
		return 1
	}
	return clusterCopies // a single server that told nothing of itself refuses, and is asked for one
}

func (b *Bus) view() view {
	b.viewMu.Lock()
	defer b.viewMu.Unlock()
	return b.last
}

// examine asks the servers and returns an error of kind Invalid if, by
// Config.Sync, nobody should work with them.
func (b *Bus) examine(ctx context.Context, waited time.Duration) error {
	v := b.look(ctx)
	err := v.verdict(b.cfg.Sync)
	switch {
	case err == nil:
		return b.complete(ctx, v, waited)
	case b.cfg.Sync == SyncUnsafe:
		b.log.ErrorContext(ctx, "accepted jobs may not survive a power cut", slog.String("error", err.Error()))
		return nil
	case errors.Is(err, errUnseen) && waited < unseenWait:
		return &job.Error{Op: "bus.Setup", Kind: job.Unavailable, Public: sayAway, Err: err}
	}
	return &job.Error{Op: "bus.Setup", Kind: job.Invalid, Err: err}
}

// complete waits a moment for the servers that have told nothing yet: any of
// them may be the one that does not sync. One that stays away is looked at later.
func (b *Bus) complete(ctx context.Context, v view, waited time.Duration) error {
	var err error
	switch {
	case b.cfg.Sync != SyncVerify:
		return nil
	case v.forming:
		err = errNoLeader
	case v.told < v.size:
		err = fmt.Errorf("%d of the %d NATS servers have told whether they sync each message", v.told, v.size)
	default:
		return nil
	}
	if v.forming || waited < unseenWait {
		return &job.Error{Op: "bus.Setup", Kind: job.Unavailable, Public: sayAway, Err: err}
	}
	b.log.WarnContext(ctx, "not every server could be examined", slog.String("error", err.Error()))
	return nil
}

// verdict is what is wrong with what the servers told, for a value of Config.Sync.
func (v view) verdict(policy string) error {
	switch {
	case len(v.unsynced) > 0:
		return &unsyncedError{v.unsynced}
	case !v.seen && policy != SyncAssured:
		return errUnseen
	}
	return nil
}

// WarningError is an error that stops nothing: what it says should not be so, and the
// operator has decided to live with it.
type WarningError struct{ error }

// Warns tells package telemetry that this is no failure.
func (WarningError) Warns() bool { return true }

// Unwrap returns what is warned of.
func (w WarningError) Unwrap() error { return w.error }

// Synced reports whether every server that could be asked syncs each message to
// disk, as I1 needs. It asks once a minute. With Config.Sync as unsafe the error
// is a [WarningError].
func (b *Bus) Synced(ctx context.Context) error {
	v := b.view()
	if time.Since(v.at) > lookAgain {
		if fresh := b.look(ctx); fresh.seen || !v.seen {
			v = fresh
		}
	}
	err := v.verdict(b.cfg.Sync)
	if err == nil {
		return nil
	}
	err = &job.Error{Op: "bus.Synced", Kind: job.Unavailable, Public: "The message bus does not sync each message to disk: accepted jobs may not survive a power cut.", Err: err}
	if b.cfg.Sync == SyncUnsafe {
		return WarningError{err}
	}
	return err
}

// look asks every server of its JetStream: over the connection if the account
// may, else at the monitoring ports. Where nobody tells, the view before stays.
func (b *Bus) look(ctx context.Context) view {
	told := b.askServers(ctx)
	if len(told) == 0 {
		told = b.askMonitors(ctx)
	}
	v := view{at: time.Now(), size: 1}
	known := map[string]bool{} // an address may be there twice
	for _, t := range told {
		if t.Data.Disabled || known[t.Data.ID] {
			continue
		}
		known[t.Data.ID] = true
		v.seen, v.told = true, len(known)
		if !t.Data.Config.SyncAlways {
			v.unsynced = append(v.unsynced, fmt.Sprintf("%s (sync_interval %s)", t.Server.Name, t.Data.Config.SyncInterval))
		}
		if meta := t.Data.Meta; meta != nil {
			v.size, v.forming = max(v.size, meta.Size), v.forming || meta.Leader == ""
		}
	}
	slices.Sort(v.unsynced)
	b.viewMu.Lock()
	defer b.viewMu.Unlock()
	if v.seen || !b.last.seen {
		b.last = v
	}
	return v
}

// told is what a server tells of its JetStream.
type told struct {
	Server struct {
		Name string `json:"name"`
	} `json:"server"`
	Data struct {
		ID       string `json:"server_id"`
		Disabled bool   `json:"disabled"`
		Config   struct {
			SyncAlways   bool          `json:"sync_always"`
			SyncInterval time.Duration `json:"sync_interval"`
		} `json:"config"`
		Meta *struct {
			Leader string `json:"leader"`
			Size   int    `json:"cluster_size"`
		} `json:"meta_cluster"`
	} `json:"data"`
}

// askServers asks over the connection, which a server grants to its system
// account and to accounts that import the subject from there.
func (b *Bus) askServers(ctx context.Context) (all []told) {
	sub, err := b.nc.SubscribeSync(nats.NewInbox())
	if err != nil {
		return nil
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be gone
	if err := b.nc.PublishRequest(serverInfo, sub.Subject, nil); err != nil {
		return nil
	}
	patience, expected := monitorTimeout, 1
	for len(all) < min(expected, mostServers) {
		next, cancel := context.WithTimeout(ctx, patience)
		m, err := sub.NextMsgWithContext(next)
		cancel()
		var t told
		if err != nil || json.Unmarshal(m.Data, &t) != nil || t.Server.Name == "" {
			break // nobody answers or may be asked, or nobody else is there
		}
		all, patience = append(all, t), quiet
		if t.Data.Meta != nil {
			expected = max(expected, t.Data.Meta.Size)
		}
	}
	return all
}

// askMonitors asks the monitoring ports.
func (b *Bus) askMonitors(ctx context.Context) (all []told) {
	ctx, cancel := context.WithTimeout(ctx, monitorTimeout)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex // guards all
	for _, base := range b.monitors() {
		wg.Go(func() {
			var t told
			if err := fetchJSON(ctx, base+monitorPath, &t.Data); err != nil {
				b.log.DebugContext(ctx, "NATS does not tell of itself", slog.String("address", base), slog.String("error", err.Error()))
				return
			}
			t.Server.Name = base
			mu.Lock()
			defer mu.Unlock()
			all = append(all, t)
		})
	}
	wg.Wait()
	return all
}

// monitors returns the monitoring addresses: those of the Config, or where every
// server has it that says nothing else.
func (b *Bus) monitors() []string {
	if all := b.cfg.monitors(); len(all) > 0 {
		return all
	}
	var all []string
	for _, server := range b.nc.Servers() {
		u, err := url.Parse(server)
		if err != nil || u.Hostname() == "" {
			continue
		}
		if base := "http://" + net.JoinHostPort(u.Hostname(), monitorPort); !slices.Contains(all, base) && len(all) < mostServers {
			all = append(all, base)
		}
	}
	return all
}

func fetchJSON(ctx context.Context, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return err
	}
	req.Close = true // once a minute: no connection is kept for it
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, answerBytes)).Decode(into)
}
