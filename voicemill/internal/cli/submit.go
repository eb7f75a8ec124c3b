package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
	"github.com/voicemill/voicemill/voicemill/internal/progress"
)

const stdinName = "-"

// SubmitCommand hands in one document.
type SubmitCommand struct {
	File  string `arg:"" optional:"" help:"The document: .epub, .md, .markdown, .html, .xhtml or .txt; - reads standard input."`
	Batch string `placeholder:"FILE" help:"Instead of a document: up to 10,000 jobs, the JSON of one on each line; - reads standard input."`

	MediaType    string   `placeholder:"TYPE" help:"Media type of the document, if its extension does not say it."`
	Voice        string   `placeholder:"NAME" help:"Who speaks; voicemill voices lists them."`
	Language     string   `placeholder:"TAG" help:"Language of the text (BCP 47); default: what the document says."`
	Speed        float64  `placeholder:"FACTOR" help:"Pace, 0.5 to 2.0."`
	Instructions string   `placeholder:"TEXT" help:"How to speak, in words for the model, such as 'warm, unhurried'; for voices that take some."`
	Seed         int64    `placeholder:"N" help:"Seed of the engine."`
	Format       []string `placeholder:"FORMAT" help:"Audio format of the files; may be repeated."`
	Loudness     string   `placeholder:"LEVEL" help:"Level of the files: none, acx or ebu-r128; voices are matched and peaks limited."`
	Subtitles    []string `placeholder:"FORMAT" help:"Subtitles of the chapters and the book: vtt, srt or ass; may be repeated."`
	ReadAlong    bool     `help:"An EPUB that reads along, besides: the document itself, or one made of its text."`
	DeliverTo    string   `placeholder:"BUCKET" help:"Bucket of your own (bkt_…) that the files are copied to when the job has ended; voicemill buckets lists them."`
	Path         string   `placeholder:"TEMPLATE" help:"Where in that bucket; default {author}/{series}/{title}/{chapter:03} - {chapter_title}.{ext}."`

	Book bookFlags `embed:""`

	PauseSentence  *float64 `placeholder:"SECONDS" help:"Silence between sentences."`
	PauseParagraph *float64 `placeholder:"SECONDS" help:"Silence between paragraphs."`
	PauseChapter   *float64 `placeholder:"SECONDS" help:"Silence after a chapter's title and at its end."`

	Callback      string            `placeholder:"URL" help:"Where to send signed events."`
	CallbackEvent []string          `placeholder:"EVENT" help:"Which events to send; may be repeated. Default: those that end the job."`
	Label         map[string]string `mapsep:"none" placeholder:"KEY=VALUE" help:"A label to find the job by; may be repeated."`
	Class         string            `placeholder:"CLASS" help:"interactive or bulk."`
	OnFailure     string            `placeholder:"CHOICE" help:"What becomes of a job with segments that nobody can speak: fail or partial."`

	Verify  string `placeholder:"CHOICE" help:"Which segments are heard back by speech recognition: none, sample or all."`
	OnDoubt string `placeholder:"CHOICE" help:"What becomes of a segment in which other words are heard: retry or deliver."`

	IdempotencyKey string `placeholder:"KEY" help:"The same key with the same document is the same job. Default: a random one."`
	Wait           bool   `help:"Follow the job until it ends."`
}

// Run uploads the document if need be, submits the job and prints its id.
func (c *SubmitCommand) Run(ctx context.Context, con *console.Console, s *Session) error {
	switch {
	case (c.File == "") == (c.Batch == ""):
		return usagef("give a document or --batch")
	case c.Batch != "":
		return c.batch(ctx, con, s)
	}
	if c.Callback == "" && len(c.CallbackEvent) > 0 {
		return usagef("--callback-event needs --callback")
	}
	media, err := mediaType(c.File, c.MediaType)
	if err != nil {
		return err
	}
	doc, err := openDocument(c.File, con.In)
	if err != nil {
		return err
	}
	defer doc.Close() //nolint:errcheck // only read
	key := c.IdempotencyKey
	if key == "" {
		key = rand.Text()
	}
	spec := c.spec()
	spec.Input.Media = media
	if text, ok, err := doc.inline(media); err != nil {
		return err
	} else if ok {
		spec.Input.Text = text
	} else if spec.Input.Upload, err = s.upload(ctx, con, doc, media, key); err != nil {
		return err
	}
	if spec.Output.Metadata, err = c.Book.metadata(ctx, con, s, key); err != nil {
		return err
	}
	accepted, err := s.submit(ctx, spec, key)
	if err != nil {
		return err
	}
	if con.JSON && !c.Wait {
		return con.Document(accepted)
	}
	if !con.JSON {
		if err := con.Printf("%s\n", accepted.ID); err != nil {
			return err
		}
	}
	if c.Wait {
		return watch(ctx, con, s, accepted.ID, &accepted)
	}
	con.Hintf("Next: voicemill watch %s", accepted.ID)
	return nil
}

// batch submits a file of jobs and prints an id for each. What is refused goes
// to the standard error, or with --json into its line.
func (c *SubmitCommand) batch(ctx context.Context, con *console.Console, s *Session) error {
	if c.Wait {
		return usagef("--wait follows one job; a batch is many")
	}
	doc, err := openDocument(c.Batch, con.In)
	if err != nil {
		return err
	}
	defer doc.Close() //nolint:errcheck // only read
	refused := 0
	err = s.calls.SubmitBatch(ctx, doc.File, doc.size, client.SubmitOptions{IdempotencyKey: c.IdempotencyKey}, func(l client.BatchLine) error {
		if l.Problem != nil {
			refused++
			con.Hintf("line %d: %s", l.Line, progress.Clean(l.Problem.Error()))
		}
		switch {
		case con.JSON:
			return con.Document(l)
		case l.ID != "":
			return con.Printf("%s\n", l.ID)
		}
		return nil
	})
	if err == nil && refused > 0 {
		err = &ExitError{Code: ExitRefused, Err: fmt.Errorf("%d lines were refused", refused)}
	}
	return err
}

func (c *SubmitCommand) spec() job.Spec {
	spec := job.Spec{
		Voice: c.Voice, Language: c.Language, Speed: c.Speed, Seed: c.Seed, Instructions: c.Instructions,
		Class: job.Class(c.Class), OnFailure: job.OnFailure(c.OnFailure), Verify: job.Verify(c.Verify), OnDoubt: job.OnDoubt(c.OnDoubt),
		Output: job.Output{Formats: c.Format, Subtitles: c.Subtitles, Loudness: c.Loudness, ReadAlong: c.ReadAlong, DeliverTo: c.DeliverTo, Path: c.Path}, Labels: c.Label,
	}
	spec.Output.Pauses = c.pauses()
	if c.Callback != "" {
		spec.Callback = &job.Callback{URL: strings.TrimSpace(c.Callback), Events: c.CallbackEvent}
	}
	return spec
}

// pauses returns the default pauses with those that were named, or nil if none was.
func (c *SubmitCommand) pauses() *job.Pauses {
	if c.PauseSentence == nil && c.PauseParagraph == nil && c.PauseChapter == nil {
		return nil
	}
	p := job.DefaultPauses()
	for _, pause := range []struct{ named, into *float64 }{
		{c.PauseSentence, &p.Sentence}, {c.PauseParagraph, &p.Paragraph}, {c.PauseChapter, &p.Chapter},
	} {
		if pause.named != nil {
			*pause.into = *pause.named
		}
	}
	return &p
}
