package readalong

import (
	"bytes"
	"encoding/xml"
	"fmt"
)

// clip is a stretch of a chapter's audio, and the element that stands for it.
type clip struct {
	id         string
	audio      string // the file's name in the book
	begin, end int64  // milliseconds
}

// overlay collects the clips of one document.
type overlay struct{ clips []clip }

// newest returns the last clip.
func (o *overlay) newest() *clip { return &o.clips[len(o.clips)-1] }

// tape plays the chapters: a clip ends where the next one begins. What it is
// told comes in the order in which it sounds.
type tape struct {
	chapter Chapter
	playing *overlay // its newest clip is open; nil: what sounds is nobody's
	at      int64    // when the next clip may begin
	begun   bool     // something of the chapter has sounded
}

// load puts in the next chapter.
func (t *tape) load(c Chapter) {
	t.stop(t.chapter.Millis)
	t.chapter, t.at, t.begun = c, 0, false
}

// stop ends the open clip: what sounds from then on is nobody's.
func (t *tape) stop(millis int64) {
	if t.playing != nil {
		last := t.playing.newest()
		last.end = max(last.begin+1, min(millis, t.chapter.Millis))
		t.at, t.playing = last.end, nil
	}
}

// pass ends the open clip because what sounds from then on stands nowhere.
func (t *tape) pass(millis int64) {
	t.stop(millis)
	t.begun = true
}

// play has an element light up from a time on. A clip of no length is left out, in
// favour of the one before it.
func (t *tape) play(into *overlay, id string, millis int64) {
	millis = min(max(millis, t.at), t.chapter.Millis)
	if !t.begun { // the silence before the first word is its own
		millis = 0
	}
	if millis >= t.chapter.Millis || t.playing != nil && millis <= t.playing.newest().begin {
		return
	}
	t.stop(millis)
	into.clips = append(into.clips, clip{id, t.chapter.Audio, millis, millis})
	t.playing, t.begun = into, true
}

// millis is how long an overlay plays.
func (o *overlay) millis() (sum int64) {
	for _, c := range o.clips {
		sum += c.end - c.begin
	}
	return sum
}

// write returns the SMIL file called name for a document. All clips have ended.
func (o *overlay) write(name, document string) []byte {
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	b.WriteString(`<smil xmlns="http://www.w3.org/ns/SMIL" version="3.0"><body>` + "\n")
	text := escape(link(name, document))
	for i, c := range o.clips {
		fmt.Fprintf(&b, `<par id="p%d"><text src="%s#%s"/><audio src="%s" clipBegin="%s" clipEnd="%s"/></par>`+"\n",
			i+1, text, c.id, escape(link(name, c.audio)), clock(c.begin), clock(c.end))
	}
	b.WriteString("</body></smil>\n")
	return b.Bytes()
}

// clock writes a time as SMIL has it.
func clock(millis int64) string { return fmt.Sprintf("%d.%03ds", millis/1000, millis%1000) }

// escape writes text so that it means nothing in XML.
func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a bytes.Buffer takes everything
	return b.String()
}
