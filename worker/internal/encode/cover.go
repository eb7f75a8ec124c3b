package encode

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"

	"github.com/voicemill/voicemill/job"
)

// cover is the picture that a file carries; the zero value is none.
type cover struct {
	path   string
	media  string
	sha256 []byte
}

// fetch brings the cover of the job here, if it has one.
func (w *work) fetch(ctx context.Context) (c cover, err error) {
	a, ok, err := w.deps.Store.CoverOf(ctx, w.ID)
	if err != nil || !ok {
		return c, err
	}
	c = cover{filepath.Join(w.dir, a.Name), a.MediaType, a.SHA256}
	err = w.read(ctx, source{a.ObjectKey, a.Bytes, a.SHA256}, func(in io.Reader) error {
		raw, err := io.ReadAll(io.LimitReader(in, job.MaxCoverBytes+1))
		if err == nil {
			err = os.WriteFile(c.path, raw, 0o600)
		}
		if err != nil {
			return &job.Error{Op: "encode.fetch", JobID: w.ID, Kind: job.Unavailable, Err: err}
		}
		return nil
	})
	return c, err
}

// input has ffmpeg read the picture, whole and as it is.
func (c cover) input() []string {
	if c.path == "" {
		return nil
	}
	return []string{byTurns, "0", "-f", "image2", "-pattern_type", "none", "-i", c.path}
}

// output attaches it: the third input.
func (c cover) output() []string {
	if c.path == "" {
		return nil
	}
	return []string{"-map", "2:v", "-c:v", "copy", "-disposition:v:0", "attached_pic", "-metadata:s:v:0", "comment=Cover (front)"}
}

// tag is the picture as Ogg carries it, among the words: FLAC's block of a picture, in
// base64.
func (c cover) tag() (t []tag, err error) {
	if c.path == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(c.path)
	if err != nil {
		return nil, &job.Error{Op: "encode.cover", Kind: job.Unavailable, Err: err}
	}
	const front = 3
	block := binary.BigEndian.AppendUint32(nil, front)
	block = binary.BigEndian.AppendUint32(block, uint32(len(c.media))) //nolint:gosec // short
	block = append(block, c.media...)
	block = append(block, make([]byte, 5*4)...)                    // no description; width, height, depth and colours are in the picture
	block = binary.BigEndian.AppendUint32(block, uint32(len(raw))) //nolint:gosec // at most job.MaxCoverBytes
	return []tag{{"METADATA_BLOCK_PICTURE", base64.StdEncoding.EncodeToString(append(block, raw...))}}, nil
}
