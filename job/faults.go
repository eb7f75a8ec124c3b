package job

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Fault is one thing wrong with a request: where (an RFC 6901 JSON pointer) and what.
type Fault struct {
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
	Kind    Kind   `json:"-"` // Invalid or TooLarge
}

// MaxFaults is how many faults of a request are told; more are counted. Nobody
// reads a list that is longer, and the answer must not grow with the request.
const MaxFaults = 50

// Faults is what is wrong with a request: the first MaxFaults, and how many there
// are beside. The zero value is none.
type Faults struct {
	List []Fault
	More int
}

// Any reports whether there is one.
func (f *Faults) Any() bool { return len(f.List) > 0 }

// Len returns how many there are in all.
func (f *Faults) Len() int { return len(f.List) + f.More }

// Add adds a fault, or counts it.
func (f *Faults) Add(fault Fault) {
	if !f.Full() {
		fault.Pointer, fault.Detail = cut(fault.Pointer, maxPointer), cut(fault.Detail, maxDetail)
		f.List = append(f.List, fault)
	}
}

// What a client has sent, a name or a value, is told again up to this many bytes.
const (
	maxPointer = 256
	maxDetail  = 512
)

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}

// Full reports whether another fault can only be counted, and counts it then. It
// is for who finds many, and would spell each for nothing.
func (f *Faults) Full() bool {
	if len(f.List) < MaxFaults {
		return false
	}
	f.More++
	return true
}

// Append adds the faults of others.
func (f *Faults) Append(others ...Faults) {
	for _, o := range others {
		for _, fault := range o.List {
			f.Add(fault)
		}
		f.More += o.More
	}
}

func (f *Faults) add(pointer, format string, args ...any) {
	f.Add(Fault{Pointer: pointer, Detail: fmt.Sprintf(format, args...), Kind: Invalid})
}

func (f *Faults) tooLarge(pointer, format string, args ...any) {
	f.Add(Fault{Pointer: pointer, Detail: fmt.Sprintf(format, args...), Kind: TooLarge})
}

// Faults returns what is wrong with s, in the order of the fields; none means that
// s may be accepted as far as the request alone can tell. Whether voice, upload and
// callback host exist and are allowed is asked elsewhere.
func (s *Spec) Faults(l Limits) Faults {
	var f Faults
	s.inputFaults(&f, l)
	if s.Speed != 0 && !(s.Speed >= 0.5 && s.Speed <= 2) { // written so that NaN is refused
		f.add("/speed", "must be from 0.5 to 2.0, is %v", s.Speed)
	}
	if detail := instructionsFault(s.Instructions); detail != "" {
		f.add("/instructions", "%s", detail)
	}
	if s.Deadline != nil && (s.Deadline.Year() < 1970 || s.Deadline.Year() > 9999) {
		f.add("/deadline", "must be a time after 1970 that RFC 3339 can write")
	}
	if s.Language != "" && !validLanguage(s.Language) {
		f.add("/language", "%q is not a BCP 47 language tag such as en or pt-BR", s.Language)
	}
	if s.Class != "" && s.Class != Bulk && s.Class != Interactive {
		f.add("/class", "must be interactive or bulk, is %q", s.Class)
	}
	if s.Priority < -10 || s.Priority > 10 {
		f.add("/priority", "must be from -10 to 10, is %d", s.Priority)
	}
	if s.OnFailure != "" && s.OnFailure != FailJob && s.OnFailure != AllowPartial {
		f.add("/on_failure", "must be fail or partial, is %q", s.OnFailure)
	}
	s.verifyFaults(&f)
	s.outputFaults(&f)
	s.callbackFaults(&f)
	s.labelFaults(&f, l)
	return f
}

func (s *Spec) inputFaults(f *Faults, l Limits) {
	set := 0
	for _, is := range []bool{s.Input.Text != "", s.Input.Segments != nil, s.Input.Upload != ""} {
		if is {
			set++
		}
	}
	switch {
	case set == 0:
		f.add("/input", "there is nothing to speak: give text, segments or upload")
		return
	case set > 1:
		f.add("/input", "give exactly one of text, segments and upload")
	}
	if s.Input.Media != "" && !slices.Contains(MediaTypes(), s.Input.Media) {
		f.add("/input/media_type", "%q cannot be read; known: %s", s.Input.Media, strings.Join(MediaTypes(), ", "))
	}
	if s.Input.Media == MediaEPUB && s.Input.Upload == "" {
		f.add("/input/media_type", "an EPUB must be uploaded: POST /v1/uploads")
	}
	if s.Input.Text != "" {
		if fault := textFault(s.Input.Text, l.TextBytes); fault.Detail != "" {
			fault.Pointer = "/input/text"
			f.Add(fault)
		}
	}
	if s.Input.Segments != nil && len(s.Input.Segments) == 0 {
		f.add("/input/segments", "there is nothing to speak: the list is empty")
	}
	if len(s.Input.Segments) > l.Segments {
		f.tooLarge("/input/segments", "%d segments; at most %d", len(s.Input.Segments), l.Segments)
		return
	}
	total := 0
	for i, g := range s.Input.Segments {
		total += len(g.Text) + len(g.Instructions)
		if fault := textFault(g.Text, l.TextBytes); fault.Detail != "" && !f.Full() {
			fault.Pointer = fmt.Sprintf("/input/segments/%d/text", i)
			f.Add(fault)
		}
		if detail := instructionsFault(g.Instructions); detail != "" && !f.Full() {
			f.add(fmt.Sprintf("/input/segments/%d/instructions", i), "%s", detail)
		}
	}
	if total > l.TextBytes {
		f.tooLarge("/input/segments", "%d bytes of text in all; at most %d inline, upload more", total, l.TextBytes)
	}
}

// textFault returns what is wrong with a text, without saying where it is.
func textFault(text string, limit int) Fault {
	switch {
	case len(text) > limit:
		return Fault{Kind: TooLarge, Detail: fmt.Sprintf("%d bytes; at most %d inline, upload more", len(text), limit)}
	case !utf8.ValidString(text):
		return Fault{Kind: Invalid, Detail: "is not UTF-8"}
	case forbiddenControl(text) >= 0:
		control, _ := utf8.DecodeRuneInString(text[forbiddenControl(text):])
		return Fault{Kind: Invalid, Detail: fmt.Sprintf("has the control character %U", control)}
	case strings.IndexFunc(text, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }) < 0:
		return Fault{Kind: Invalid, Detail: "has no letter or digit to speak"}
	}
	return Fault{}
}

// instructionsFault returns what is wrong with instructions, or "".
func instructionsFault(s string) string {
	switch {
	case s == "":
		return ""
	case !utf8.ValidString(s):
		return "are not UTF-8"
	case utf8.RuneCountInString(s) > MaxInstructions:
		return fmt.Sprintf("have %d characters; at most %d", utf8.RuneCountInString(s), MaxInstructions)
	case forbiddenControl(s) >= 0:
		return "have control characters"
	case strings.TrimSpace(s) == "":
		return "are blank; leave them out"
	}
	return ""
}

// forbiddenControl returns where the first control character of valid UTF-8 is that
// no text needs, or -1. It looks at bytes, since every submit pays for it: those
// above ASCII, U+0080 to U+009F, begin with 0xC2.
func forbiddenControl(text string) int {
	for i := range len(text) {
		switch c := text[i]; {
		case c >= ' ' && c != 0x7f && c != 0xc2, c == '\n', c == '\r', c == '\t':
		case c != 0xc2 || text[i+1] < 0xa0:
			return i
		}
	}
	return -1
}

func (s *Spec) outputFaults(f *Faults) {
	for i, name := range s.Output.Formats {
		switch at := fmt.Sprintf("/output/formats/%d", i); {
		case !slices.Contains(Formats(), name):
			f.add(at, "format %q is not known; known: %s", name, strings.Join(Formats(), ", "))
		case slices.Index(s.Output.Formats, name) < i:
			f.add(at, "format %q is named twice", name)
		}
	}
	s.subtitleFaults(f)
	if l := s.Output.Loudness; l != "" && !slices.Contains(Loudnesses(), l) {
		f.add("/output/loudness", "%q is not known; known: %s", l, strings.Join(Loudnesses(), ", "))
	}
	s.pauseFaults(f)
	s.metadataFaults(f)
	s.deliveryFaults(f)
}

func (s *Spec) deliveryFaults(f *Faults) {
	if id := s.Output.DeliverTo; id != "" && !ValidBucketID(id) {
		f.add("/output/deliver_to", "%q is not the id of a bucket, which is bkt_ and letters and digits", id)
	}
	if s.Output.Path == "" {
		return
	}
	if s.Output.DeliverTo == "" {
		f.add("/output/path", "needs deliver_to: it says where files go in that bucket")
	}
	if _, err := ParsePath(s.Output.Path); err != nil {
		f.add("/output/path", "%s", err)
	}
}

// ValidBucketID reports whether id may be that of an owner's bucket.
func ValidBucketID(id string) bool {
	rest, found := strings.CutPrefix(id, "bkt_")
	return found && rest != "" && len(rest) <= 64 && strings.Trim(rest, "0123456789abcdefghijklmnopqrstuvwxyz") == ""
}

func (s *Spec) subtitleFaults(f *Faults) {
	for i, name := range s.Output.Subtitles {
		switch at := fmt.Sprintf("/output/subtitles/%d", i); {
		case !slices.Contains(Subtitles(), name):
			f.add(at, "format %q is not known; known: %s", name, strings.Join(Subtitles(), ", "))
		case slices.Index(s.Output.Subtitles, name) < i:
			f.add(at, "format %q is named twice", name)
		}
	}
}

func (s *Spec) pauseFaults(f *Faults) {
	p := s.Output.Pauses
	if p == nil {
		return
	}
	for _, v := range []struct {
		name    string
		seconds float64
	}{{"sentence", p.Sentence}, {"paragraph", p.Paragraph}, {"chapter", p.Chapter}} {
		if !(v.seconds >= 0 && v.seconds <= 10) {
			f.add("/output/pauses/"+v.name, "must be from 0 to 10 seconds, is %v", v.seconds)
		}
	}
}

func (s *Spec) callbackFaults(f *Faults) {
	if s.Callback == nil {
		return
	}
	u, err := url.Parse(s.Callback.URL)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		f.add("/callback/url", "must be an absolute http or https URL")
	case u.User != nil:
		f.add("/callback/url", "must not carry a user name or password")
	case len(s.Callback.URL) > 2048:
		f.add("/callback/url", "is longer than 2048 bytes")
	}
	for i, e := range s.Callback.Events {
		if !slices.Contains(Events(), e) {
			f.add(fmt.Sprintf("/callback/events/%d", i), "event %q is not known; known: %s", e, strings.Join(Events(), ", "))
		}
	}
}

func (s *Spec) labelFaults(f *Faults, l Limits) {
	if len(s.Labels) > l.Labels {
		f.tooLarge("/labels", "%d labels; at most %d", len(s.Labels), l.Labels)
		return
	}
	for k, v := range s.Labels {
		if k == "" || len(k) > l.LabelBytes || len(v) > l.LabelBytes || strings.IndexFunc(k+v, unicode.IsControl) >= 0 {
			f.add("/labels/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(k), "key and value must have 1 to %d bytes and no control characters", l.LabelBytes)
		}
	}
}

// validLanguage accepts the shape of a BCP 47 tag (RFC 5646): subtags of 1 to
// 8 letters or digits, the first of 2 to 8 letters.
func validLanguage(tag string) bool {
	for i, sub := range strings.Split(tag, "-") {
		if sub == "" || len(sub) > 8 {
			return false
		}
		for _, c := range sub {
			letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
			if !letter && (i == 0 || c < '0' || c > '9') {
				return false
			}
		}
		if i == 0 && len(sub) < 2 {
			return false
		}
	}
	return true
}
