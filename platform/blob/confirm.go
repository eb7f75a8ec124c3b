package blob

import (
	"context"
	"encoding/base64"
	"fmt"

	"github.com/minio/minio-go/v7"

	"github.com/voicemill/voicemill/job"
)

// wholeObject is what a store says of a checksum over all bytes of an object, and
// not over the checksums of its parts.
const wholeObject = "FULL_OBJECT"

// confirm asks the store what it keeps: an answer that all is well has been given
// for objects that a full disk had cut short. The checksum is compared where the
// store has made one; what is computed here costs little beside the transfer. Our own
// server looks before it answers, and is not asked again.
func (p *put) confirm(ctx context.Context) error {
	sum := base64.StdEncoding.EncodeToString(p.sum.Sum(nil))
	if p.told != "" {
		return p.compare(p.told, sum)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, smallTimeout, errStalled)
	defer cancel()
	kept, err := p.s.core.StatObject(ctx, p.s.cfg.Bucket, p.key, minio.StatObjectOptions{Checksum: true})
	if err != nil {
		return classify("Stat", p.key, fmt.Errorf("ask what was stored: %w", because(ctx, err)))
	}
	if kept.Size != p.read {
		return p.unlike("%d bytes of %d", kept.Size, p.read)
	}
	if kept.ChecksumCRC64NVME != "" && kept.ChecksumMode == wholeObject {
		return p.compare(kept.ChecksumCRC64NVME, sum)
	}
	return nil
}

func (p *put) compare(kept, sent string) error {
	if kept != sent {
		return p.unlike("bytes with the CRC-64/NVME %s; want %s", kept, sent)
	}
	return nil
}

func (p *put) unlike(format string, args ...any) error {
	return &job.Error{Op: "blob.Put", Kind: job.Unavailable, Public: sayAway, Err: fmt.Errorf("%s: the store keeps "+format, append([]any{p.key}, args...)...)}
}
