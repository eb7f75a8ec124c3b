package fsck

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// Bucket is what is looked at.
type Bucket interface {
	// Stat describes an object; NotFound if there is none.
	Stat(ctx context.Context, key string) (blob.Info, error)
	// List yields the objects whose keys begin with prefix, in the order of their keys.
	List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error]
}

// Config says how to look.
type Config struct {
	Grace  time.Duration // an object that is younger may be about to get its row
	Repair bool          // what can be repaired without loss
	Found  func(Finding) // is told of each fault; may be nil
}

// The faults.
const (
	Orphan   = "orphan"   // an object that no row names
	Dangling = "dangling" // a row that names an object that is not there
)

// Finding is one fault.
type Finding struct {
	Fault    string `json:"fault"`
	Kind     string `json:"kind,omitempty"` // of the row: rendition, artifact or document
	Key      string `json:"key"`
	Bytes    int64  `json:"bytes,omitempty"`
	Repaired bool   `json:"repaired,omitempty"`
}

// Report is what was there.
type Report struct {
	Objects    int64 `json:"objects"`
	Bytes      int64 `json:"bytes"`
	Rows       int64 `json:"rows"`
	Young      int64 `json:"young"`      // objects without a row, younger than the grace
	Pending    int64 `json:"pending"`    // objects without a row that are about to go
	Foreign    int64 `json:"foreign"`    // objects that are none of ours
	Orphans    int64 `json:"orphans"`    // repaired or not
	Dangling   int64 `json:"dangling"`   // repaired or not
	Unrepaired int64 `json:"unrepaired"` // of both
}

const page = 1000 // objects that are asked for together

// errOrder is for a bucket that does not list its objects in the order of their names.
var errOrder = errors.New("the bucket does not list its objects in order")

// check is one run.
type check struct {
	cfg      Config
	db       *store.Store
	bucket   Bucket
	old      time.Time // what is older has its row
	report   Report
	nameless []blob.Info // objects that may be orphans
}

// Run looks through everything once.
func Run(ctx context.Context, cfg Config, db *store.Store, bucket Bucket) (Report, error) {
	if cfg.Found == nil {
		cfg.Found = func(Finding) {}
	}
	c := &check{cfg: cfg, db: db, bucket: bucket, old: time.Now().Add(-cfg.Grace)}
	err := c.merge(ctx)
	if err == nil {
		err = c.orphans(ctx)
	}
	return c.report, err
}

// merge walks through rows and objects side by side. The rows come first: an
// object that a row names was stored before the row was, so it is in the list
// that begins later, unless it was deleted since.
func (c *check) merge(ctx context.Context) error {
	nextName, stopNames := iter.Pull2(c.db.Names(ctx))
	defer stopNames()
	name, err, some := nextName()
	if err != nil {
		return err
	}
	before := ""
	for o, err := range c.bucket.List(ctx, "") {
		if err != nil {
			return fmt.Errorf("list the bucket: %w", err)
		}
		if o.Key <= before {
			return fmt.Errorf("%w: %s after %s", errOrder, o.Key, before)
		}
		before = o.Key
		for some && name.Key < o.Key {
			if err := c.missing(ctx, name); err != nil {
				return err
			}
			if name, err, some = nextName(); err != nil {
				return err
			}
		}
		if err := c.object(ctx, o, some && name.Key == o.Key); err != nil {
			return err
		}
		for some && name.Key == o.Key { // an upload may be a job's document, too
			c.report.Rows++
			if name, err, some = nextName(); err != nil {
				return err
			}
		}
	}
	for some {
		if err := c.missing(ctx, name); err != nil {
			return err
		}
		if name, err, some = nextName(); err != nil {
			return err
		}
	}
	return nil
}

// object counts an object, and remembers it if no row names it.
func (c *check) object(ctx context.Context, o blob.Info, named bool) error {
	c.report.Objects++
	c.report.Bytes += o.Size
	switch folder, _, _ := strings.Cut(o.Key, "/"); {
	case named:
	case folder != "renditions" && folder != "jobs" && folder != "uploads":
		c.report.Foreign++
	case o.LastModified.After(c.old):
		c.report.Young++
	default:
		if c.nameless = append(c.nameless, o); len(c.nameless) == page {
			return c.orphans(ctx)
		}
	}
	return nil
}

// orphans asks again for the objects that no row named.
func (c *check) orphans(ctx context.Context) error {
	if len(c.nameless) == 0 {
		return nil
	}
	keys, sizes := make([]string, len(c.nameless)), make(map[string]int64, len(c.nameless))
	for i, o := range c.nameless {
		keys[i], sizes[o.Key] = o.Key, o.Size
	}
	found, err := c.db.Orphans(ctx, keys)
	if err != nil {
		return fmt.Errorf("look for orphans: %w", err)
	}
	if c.cfg.Repair && len(found) > 0 {
		if err := c.db.DiscardOrphans(ctx, found); err != nil {
			return fmt.Errorf("discard orphans: %w", err)
		}
	}
	for _, key := range found {
		c.report.Orphans++
		c.found(Finding{Fault: Orphan, Key: key, Bytes: sizes[key], Repaired: c.cfg.Repair})
	}
	c.report.Pending += int64(len(keys) - len(found))
	c.nameless = c.nameless[:0]
	return nil
}

// missing looks again for an object that a row named and that was not listed. The
// row may be gone by now, and the object with it.
func (c *check) missing(ctx context.Context, n store.Name) error {
	c.report.Rows++
	if n.Kind == store.NamesUpload {
		return nil
	}
	_, err := c.bucket.Stat(ctx, n.Key)
	if err == nil || job.KindOf(err) != job.NotFound {
		return err
	}
	named, err := c.db.Named(ctx, n.Key)
	if err != nil || !named {
		return err
	}
	f := Finding{Fault: Dangling, Kind: n.Kind, Key: n.Key}
	if c.cfg.Repair && n.Kind == store.NamesRendition {
		if f.Repaired, err = c.db.DropRenditionOf(ctx, n.Key); err != nil {
			return fmt.Errorf("drop the row of %s: %w", n.Key, err)
		}
	}
	c.report.Dangling++
	c.found(f)
	return nil
}

func (c *check) found(f Finding) {
	if !f.Repaired {
		c.report.Unrepaired++
	}
	c.cfg.Found(f)
}
