package plan_test

import (
	"bytes"
	"crypto/sha256"
	"image"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

func pictures(t *testing.T) (front, other []byte) {
	t.Helper()
	var a, b bytes.Buffer
	m := image.NewGray(image.Rect(0, 0, 3, 4))
	require.NoError(t, png.Encode(&a, m))
	require.NoError(t, jpeg.Encode(&b, m, nil))
	return a.Bytes(), b.Bytes()
}

// submit hands in a book, and a cover if there is one, which uploads knows.
func (b *bench) submit(t *testing.T, book []byte, out job.Output, cover []byte) job.ID {
	t.Helper()
	a := b.Accepted(t, storetest.Tenant, job.Spec{Input: job.Input{Upload: "upl_1", Media: job.MediaEPUB}, Output: out})
	a.SourceKey = "uploads/" + string(a.ID)
	b.bucket.put(a.SourceKey, book)
	if cover != nil {
		key := a.SourceKey + "/cover"
		b.bucket.put(key, cover)
		b.Exec(t, `insert into uploads (id, tenant_id, media_type, max_bytes, object_key, expires_at) values ($1, $2, 'image/png', 1, $3, now())`,
			out.Metadata.Cover, storetest.Tenant, key)
	}
	b.Insert(t, a)
	b.planner.Wake()
	return a.ID
}

func TestTheCoverBecomesAFileOfTheJob(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	b.run(t)
	front, other := pictures(t)
	plain := epub(t, 1, 1, sentence)
	book := withCover(t, plain, front)
	encoded, named := []string{job.FormatM4B}, &job.Metadata{Cover: "upl_cover"}
	for name, c := range map[string]struct {
		out   job.Output
		book  []byte
		cover []byte
		want  string
		data  []byte
	}{
		"of the book":              {job.Output{Formats: encoded}, book, nil, "cover.png", front},
		"of the request":           {job.Output{Formats: encoded, Metadata: named}, book, other, "cover.jpg", other},
		"of the request alone":     {job.Output{Formats: encoded, Metadata: &job.Metadata{Cover: "upl_cover2"}}, plain, front, "cover.png", front},
		"a book without":           {job.Output{Formats: encoded}, plain, nil, "", nil},
		"a book that stays as WAV": {job.Output{}, book, nil, "", nil},
	} {
		id := b.submit(t, c.book, c.out, c.cover)
		require.True(t, b.outcome(t, id).Queued, name)
		if c.want == "" {
			require.Zero(t, b.Count(t, `select count(*) from artifacts where job_id = $1`, id), name)
			continue
		}
		var got, media, key string
		var sum []byte
		var size int
		b.One(t, `select name, media_type, object_key, sha256, bytes from artifacts where job_id = $1`, []any{id}, &got, &media, &key, &sum, &size)
		require.Equal(t, c.want, got, name)
		want := sha256.Sum256(c.data)
		require.Equal(t, want[:], sum, name)
		require.Len(t, c.data, size, name)
		require.True(t, strings.HasPrefix(key, "jobs/"+string(storetest.Tenant)+"/"+string(id)+"/"), key)
		r, _, err := b.bucket.ReaderAt(t.Context(), key, "")
		require.NoError(t, err)
		stored := make([]byte, size)
		_, err = r.ReadAt(stored, 0)
		require.NoError(t, err)
		require.Equal(t, c.data, stored, name)
	}
}

func TestACoverThatCannotBeOneFailsTheJobByName(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	b.run(t)
	book := epub(t, 1, 1, sentence)
	for id, c := range map[string]struct {
		cover  []byte
		kind   job.Kind
		detail string
	}{
		"upl_gone":  {nil, job.NotFound, "The uploaded cover is not there any more; upload it again and submit a new job."},
		"upl_text":  {[]byte("no picture"), job.Invalid, "The cover is no JPEG or PNG that can be read."},
		"upl_large": {make([]byte, job.MaxCoverBytes+5), job.TooLarge, "The cover has 4194305 bytes; at most 4194304."},
	} {
		refused := b.submit(t, book, job.Output{Formats: []string{job.FormatMP3}, Metadata: &job.Metadata{Cover: id}}, c.cover)
		o := b.outcome(t, refused)
		require.False(t, o.Queued, id)
		require.Equal(t, c.kind, o.Kind, id)
		_, _, detail := b.State(t, refused)
		require.Equal(t, c.detail, detail, id)
	}
}
