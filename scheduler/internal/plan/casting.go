package plan

import (
	"fmt"
	"strings"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// Casting knows which voice speaks what. It is read-only and safe for
// concurrent use.
type Casting struct {
	byName     map[string]store.Voice
	byLanguage map[string]store.Voice // by tag in lower case: the default, else the first by name; one that is offered before others
	byBase     map[string]store.Voice // the same by primary language
}

// NewCasting returns the casting of voices, which are sorted by name.
func NewCasting(voices []store.Voice) *Casting {
	c := &Casting{byName: map[string]store.Voice{}, byLanguage: map[string]store.Voice{}, byBase: map[string]store.Voice{}}
	for _, v := range voices {
		c.byName[v.Name] = v
		tag := strings.ToLower(v.Language)
		prefer(c.byLanguage, tag, v)
		prefer(c.byBase, base(tag), v)
	}
	return c
}

func prefer(m map[string]store.Voice, key string, v store.Voice) {
	old, taken := m[key]
	if !taken || old.Gone && !v.Gone || old.Gone == v.Gone && v.Default && !old.Default {
		m[key] = v
	}
}

func base(tag string) string {
	tag, _, _ = strings.Cut(tag, "-")
	return tag
}

// Empty reports that no worker has offered a voice yet.
func (c *Casting) Empty() bool { return len(c.byName) == 0 }

// Named returns the voice called name.
func (c *Casting) Named(name string) (store.Voice, bool) {
	v, ok := c.byName[name]
	return v, ok
}

// For returns the default voice of a BCP 47 language: of the tag itself, else
// of a shorter one, else of any region of the same language.
func (c *Casting) For(language string) (store.Voice, bool) {
	for tag := strings.ToLower(language); tag != ""; tag = parent(tag) {
		if v, ok := c.byLanguage[tag]; ok {
			return v, true
		}
	}
	v, ok := c.byBase[base(strings.ToLower(language))]
	return v, ok
}

func parent(tag string) string {
	return tag[:max(0, strings.LastIndexByte(tag, '-'))]
}

// cast is the casting of one job.
type cast struct {
	*Casting
	jobVoice string
	language string // of the job
	main     store.Voice
}

// forJob returns the cast of a job whose document is in language.
func (c *Casting) forJob(jobVoice, language string) (*cast, error) {
	k := &cast{Casting: c, jobVoice: jobVoice, language: language}
	var ok bool
	if jobVoice != "" {
		if k.main, ok = c.Named(jobVoice); !ok {
			return nil, unknownVoice(jobVoice)
		}
		return k, nil
	}
	if k.main, ok = c.For(language); !ok {
		return nil, invalid("There is no voice for the language %q.", language)
	}
	return k, nil
}

// voice returns who speaks a segment as instructions, if there are any, want it: the
// voice it names, the job's, or the default of its language. A foreign phrase that
// nobody speaks, or nobody who takes instructions, is left to the main voice rather
// than failing a whole book.
func (k *cast) voice(named, language, instructions string) (store.Voice, error) {
	v, err := k.speaker(named, language)
	if err != nil || instructions == "" || v.Instructions {
		return v, err
	}
	if named == "" && k.main.Instructions {
		return k.main, nil
	}
	return v, invalid("The voice %q takes no instructions; GET /v1/voices says which do.", v.Name)
}

func (k *cast) speaker(named, language string) (store.Voice, error) {
	if named != "" {
		v, ok := k.Named(named)
		if !ok {
			return store.Voice{}, unknownVoice(named)
		}
		return v, nil
	}
	if k.jobVoice != "" || language == k.language {
		return k.main, nil
	}
	if v, ok := k.For(language); ok {
		return v, nil
	}
	return k.main, nil
}

func unknownVoice(name string) error {
	return invalid("There is no voice called %q; GET /v1/voices lists them.", name)
}

func invalid(format string, args ...any) error {
	return &job.Error{Op: "plan", Kind: job.Invalid, Public: fmt.Sprintf(format, args...)}
}

func tooLarge(format string, args ...any) error {
	return &job.Error{Op: "plan", Kind: job.TooLarge, Public: fmt.Sprintf(format, args...)}
}
