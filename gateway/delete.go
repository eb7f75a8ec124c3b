package gateway

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

// DeleteJob deletes a job with its text, its files and its rows, whatever its
// state; the renditions that other jobs may share stay. The files go within the
// scheduler's retention-garbage. The error is NotFound if the id was not minted
// for the tenant, or the job was deleted before. It is for whoever has the
// database; what workers have in hand of an open job comes to nothing.
func DeleteJob(ctx context.Context, db *pg.Pool, tenant job.Tenant, id job.ID) error {
	key, err := idSecret(ctx, db, rand.Reader)
	if err != nil {
		return fmt.Errorf("read the secret of job ids: %w", err)
	}
	minter, err := job.NewMinter(key, rand.Reader)
	if err != nil {
		return err
	}
	if _, ok := minter.Minted(id, tenant); !ok {
		return &job.Error{Op: "gateway.DeleteJob", JobID: id, Kind: job.NotFound, Public: "There is no such job."}
	}
	st, err := store.New(db, rand.Reader)
	if err != nil {
		return err
	}
	_, err = st.DeleteJob(ctx, tenant, id)
	return err
}
