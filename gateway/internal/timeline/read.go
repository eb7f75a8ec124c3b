package timeline

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ErrNoChapter says that the job has no such chapter.
var ErrNoChapter = errors.New("timeline: there is no such chapter")

// head is what a manifest says before its chapters.
type head struct {
	Job      string `json:"job"`
	State    string `json:"state"`
	Title    string `json:"title"`
	Language string `json:"language"`
}

// chapter is what a manifest says of a chapter before its segments.
type chapter struct {
	Ordinal      int     `json:"ordinal"`
	Title        string  `json:"title"`
	Artifact     string  `json:"artifact"`
	SampleRate   int     `json:"sample_rate"` // 0: no audio
	StartSeconds float64 `json:"start_seconds"`
	AudioSeconds float64 `json:"audio_seconds"`
}

// mark is a stretch of a segment's text, in bytes, and the sample at which it sounds.
type mark [3]int64

// segment is a segment as a manifest has it.
type segment struct {
	N           int             `json:"n"`
	Text        string          `json:"text"`
	Voice       string          `json:"voice"`
	Language    string          `json:"language"`
	Source      json.RawMessage `json:"source"`
	StartSample *int64          `json:"start_sample"` // nil: no audio
	Samples     int64           `json:"samples"`
	Sentences   []mark          `json:"sentences"`
	Words       []mark          `json:"words"`
	WordsBy     string          `json:"words_by"`
}

// reader reads a manifest member by member, in the order in which it is written.
type reader struct{ dec *json.Decoder }

// delim reads one bracket.
func (r reader) delim(want json.Delim) error {
	t, err := r.dec.Token()
	if err == nil && t != want {
		err = fmt.Errorf("%v where %v should be", t, want)
	}
	return err
}

// members reads an object up to the list called list, which is open then, and puts what comes
// before into v, a struct.
func (r reader) members(list string, v any) error {
	if err := r.delim('{'); err != nil {
		return err
	}
	before := map[string]json.RawMessage{}
	for r.dec.More() {
		key, err := r.dec.Token()
		if err != nil {
			return err
		}
		if key == list {
			raw, err := json.Marshal(before)
			if err != nil {
				return err
			}
			if err := json.Unmarshal(raw, v); err != nil {
				return err
			}
			return r.delim('[')
		}
		var value json.RawMessage
		if err := r.dec.Decode(&value); err != nil {
			return err
		}
		before[fmt.Sprint(key)] = value
	}
	return fmt.Errorf("there is no member %s", list)
}

// leave reads to the end of an object whose list was read.
func (r reader) leave() error {
	if err := r.delim(']'); err != nil {
		return err
	}
	for r.dec.More() {
		var value json.RawMessage
		if _, err := r.dec.Token(); err != nil {
			return err
		}
		if err := r.dec.Decode(&value); err != nil {
			return err
		}
	}
	return r.delim('}')
}

// chapter reads up to the segments of the next chapter, or of the one that is wanted;
// 0 is any. ok is false if there is none.
func (r reader) chapter(wanted int) (c chapter, ok bool, err error) {
	for r.dec.More() {
		c = chapter{}
		if err := r.members("segments", &c); err != nil {
			return c, false, err
		}
		if wanted == 0 || c.Ordinal == wanted {
			return c, true, nil
		}
		for r.dec.More() {
			var passed json.RawMessage
			if err := r.dec.Decode(&passed); err != nil {
				return c, false, err
			}
		}
		if err := r.leave(); err != nil {
			return c, false, err
		}
	}
	return c, false, r.delim(']') // else it is cut
}
