package scheduler

import (
	"context"

	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/scheduler/internal/fsck"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// FsckConfig says how [Fsck] looks: how young an object without a row may be,
// whether what is safe is repaired, and who is told of each fault.
type FsckConfig = fsck.Config

// FsckFinding is one fault: an object without a row, or a row without its object.
type FsckFinding = fsck.Finding

// FsckReport is what [Fsck] saw.
type FsckReport = fsck.Report

// Fsck holds the bucket against the database, while all runs or while nothing
// does. It needs no lease. Without Repair it changes nothing.
func Fsck(ctx context.Context, cfg FsckConfig, db *pg.Pool, bucket *blob.Store) (FsckReport, error) {
	st, err := store.New(db, nil)
	if err != nil {
		return FsckReport{}, err
	}
	return fsck.Run(ctx, cfg, st, bucket)
}
