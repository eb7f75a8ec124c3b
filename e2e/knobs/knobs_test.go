package knobs_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/e2e/enginesim"
	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
)

var bin string // the folder with the built commands

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "12"); err != nil { // rows wait more than they work
		panic(err)
	}
	os.Exit(stage.Main(m, &bin))
}

// sees is what the user sees of a knob.
type sees struct {
	waits   string // the reason for which the job waits, until the knob is turned back
	state   job.State
	kind    string // of the segment that failed
	detail  string
	charged int // attempts of the segment that the knob is meant for
}

// row is a knob, turned for one text or for the whole engine.
type row struct {
	knob   string
	engine bool // turned for everything that the engine speaks, until the job waits or has its end
	faults enginesim.Faults
	anew   bool // by another build of the engine, which takes its place
	meet   bool // the engine takes time, so that texts meet
	lines  int  // innocent ones; 0: 1. Before a text that is marked they are a job of their own, too
	http   sees
	grpc   sees // none: it makes no difference
}

// all is what the user sees of every knob.
var all = []row{
	{knob: "hang", http: failed("engine", noAnswer, 3), grpc: failed("engine", noAnswer, 3)},
	{knob: "slow", http: succeeded, grpc: succeeded},
	{knob: "crash", http: failed("engine", poison, 1), grpc: failed("engine", poison, 1)},
	{knob: "error", http: failed("engine", "The speech engine failed on this text (status 500).", 3), grpc: failed("engine", "The speech engine failed on this text (Internal).", 3)},
	{knob: "refuse", http: failed("invalid", "The speech engine refused this text (status 400).", 1), grpc: failed("invalid", "The speech engine refused this text (InvalidArgument).", 1)},
	{knob: "truncate", lines: 20, http: failed("engine", unusable, 3), grpc: failed("engine", "The audio was not usable: it is much shorter than the text.", 3)},
	{knob: "silence", http: failed("engine", silent, 3), grpc: failed("engine", silent, 3)},
	{knob: "garbage", http: failed("engine", unusable, 3), grpc: failed("engine", unusable, 3)},
	{knob: "cut", http: failed("engine", noAnswer, 3), grpc: failed("engine", "The speech engine failed on this text (DataLoss).", 3)},
	{knob: "count", http: failed("engine", noAnswer, 3), grpc: failed("engine", unusable, 3)},
	{knob: "hang", engine: true, faults: always(enginesim.Hang), http: waited("sick")},
	{knob: "error", engine: true, faults: always(enginesim.Error), http: waited("sick")},
	{knob: "busy", engine: true, faults: always(enginesim.Busy), http: waited("overloaded"), grpc: waited("overloaded")},
	{knob: "refuse", engine: true, faults: always(enginesim.Refuse), http: waited("misconfigured"), grpc: waited("misconfigured")},
	{knob: "silence", engine: true, faults: always(enginesim.Silence), http: waited("sick")},
	{knob: "differ", engine: true, faults: always(enginesim.Differ), anew: true, meet: true, http: waited("misconfigured"), grpc: waited("misconfigured")},
	{knob: "oom_above", engine: true, faults: enginesim.Faults{OOMAbove: 2}, meet: true, lines: 12, http: succeeded},
	{knob: "leak_kb", engine: true, faults: enginesim.Faults{LeakKB: 64}, lines: 12, http: succeeded},
}

// What texts say.
const (
	noAnswer = "The speech engine gave no answer."
	unusable = "The speech engine gave no usable answer."
	silent   = "The audio was not usable: it is silent."
	poison   = "The text ended the speech engine 3 times."
)

var succeeded = sees{state: job.StateSucceeded}

func waited(reason string) sees { return sees{waits: reason, state: job.StateSucceeded} }

func failed(kind, detail string, charged int) sees {
	return sees{state: job.StateFailed, kind: kind, detail: detail, charged: charged}
}

func always(f enginesim.Fault) enginesim.Faults {
	return enginesim.Faults{Rates: map[enginesim.Fault]float64{f: 1}}
}

// name is that of the row's pool and voice over a protocol.
func (r row) name(protocol string) string {
	what := "text"
	if r.engine {
		what = "engine"
	}
	return strings.ReplaceAll(r.knob, "_", "-") + "-" + what + "-" + protocol
}

// protocols are those that the row is about.
func (r row) protocols() []string {
	if r.grpc == (sees{}) {
		return []string{overHTTP}
	}
	return []string{overHTTP, overGRPC}
}

func (r row) want(protocol string) sees {
	if protocol == overGRPC {
		return r.grpc
	}
	return r.http
}

// job is the row's: innocent lines and, if it is to be marked, one that asks for the knob.
func (r row) job(protocol string, marked bool) map[string]any {
	var lines []map[string]any
	for n := range max(r.lines, 1) {
		lines = append(lines, map[string]any{"text": fmt.Sprintf("Nothing is wrong with line %s of the knob %s over %s.", strings.Repeat("o", n+1), r.knob, protocol)})
	}
	if marked {
		text := "So sim:" + r.knob + " ends."
		if r.lines > 0 { // so long that half of it is too short
			text = "This line is sim:" + r.knob + " and goes on for a while until it has an end."
		}
		lines = append(lines, map[string]any{"text": text})
	}
	return map[string]any{"input": map[string]any{"segments": lines}, "language": "en", "voice": r.name(protocol)}
}

const (
	overHTTP = "http"
	overGRPC = "grpc"
)

func TestWhatTheUserSeesOfEveryKnob(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	engines := openEngines(t)
	s := stage.NewSolo(t, bin, stage.SoloConfig{Env: []string{"VOICEMILL_EAR=none", "VOICEMILL_POOLS_FILE=" + engines.poolsFile(t), "VOICEMILL_RETRY_DELAY=50ms"}})
	dsn, err := s.DSN()
	require.NoError(t, err)
	db, err := pg.Connect(ctx, pg.Config{DSN: config.NewSecret(dsn), MaxConns: 4}, testkit.Log(t))
	require.NoError(t, err)
	t.Cleanup(db.Close)
	c := caller.New(t, s)
	t.Run("knobs", func(t *testing.T) {
		for _, r := range all {
			for _, protocol := range r.protocols() {
				t.Run(r.name(protocol), func(t *testing.T) {
					t.Parallel()
					require.Equal(t, r.want(protocol), r.see(ctx, t, c, db, engines, protocol))
				})
			}
		}
	})
}

// see submits the row's job and says what came of it. An engine's knob is turned back
// when the job waits for the reason that is expected.
func (r row) see(ctx context.Context, t *testing.T, c *caller.Caller, db *pg.Pool, engines *engines, protocol string) (got sees) {
	t.Helper()
	want := r.want(protocol)
	if r.engine {
		engines.turn(ctx, t, r, r.name(protocol))
	}
	if r.lines > 0 && !r.engine { // the voice is known by then
		known, err := c.Submit(ctx, "", r.job(protocol, false))
		require.NoError(t, err)
		known, err = c.Await(ctx, string(known.ID))
		require.NoError(t, err)
		require.Equal(t, job.StateSucceeded, known.State)
	}
	doc, err := c.Submit(ctx, "", r.job(protocol, !r.engine))
	require.NoError(t, err)
	if r.anew {
		_, err = c.Until(ctx, string(doc.ID), func(d jobdoc.Document) bool { return d.State.Final() || d.Waiting != nil && d.Waiting.Reason == "sick" })
		require.NoError(t, err)
		close(engines.sims[r.name(protocol)].built)
	}
	if want.waits != "" {
		doc, err = c.Until(ctx, string(doc.ID), func(d jobdoc.Document) bool {
			return d.State.Final() || d.Waiting != nil && d.Waiting.Reason == want.waits
		})
		require.NoError(t, err)
		require.NotNil(t, doc.Waiting, "%+v", doc)
		got.waits = doc.Waiting.Reason
		require.Equal(t, r.name(protocol), doc.Waiting.Pool)
		engines.set(ctx, t, r.name(protocol), enginesim.Faults{})
	}
	doc, err = c.Await(ctx, string(doc.ID))
	require.NoError(t, err)
	got.state = doc.State
	if len(doc.Failures) > 0 {
		require.Len(t, doc.Failures, 1, "others failed with it")
		f := doc.Failures[0]
		require.Equal(t, max(r.lines, 1)+1, f.Segment)
		got.kind, got.detail, got.charged = f.Kind, f.Detail, f.Attempts
	}
	var most int
	require.NoError(t, db.QueryRow(ctx, `select coalesce(max(attempt), 1) - 1 from segments where job_id = $1 and state = 'done'`, doc.ID).Scan(&most))
	if got.state == job.StateSucceeded {
		got.charged = most
	} else {
		require.Zero(t, most, "an innocent text was charged")
	}
	return got
}

// The table in docs/engines.md is this one.
func TestTheDocumentedTableIsWhatIsTested(t *testing.T) {
	doc, err := os.ReadFile("../../docs/engines.md")
	require.NoError(t, err)
	for _, line := range table() {
		require.Contains(t, string(doc), line+"\n", "docs/engines.md lacks a line; the table is\n%s", strings.Join(table(), "\n"))
	}
}

// table is what is documented.
func table() []string {
	lines := []string{"| knob | turned for | over | the job | the text says | attempts charged |", "|---|---|---|---|---|---|"}
	for _, r := range all {
		what := "a text"
		if r.engine {
			what = "the engine"
		}
		if r.http == r.grpc || r.grpc == (sees{}) {
			lines = append(lines, r.http.line(r.knob, what, "either"))
			continue
		}
		lines = append(lines, r.http.line(r.knob, what, "HTTP"), r.grpc.line(r.knob, what, "gRPC"))
	}
	return lines
}

func (s sees) line(knob, what, over string) string {
	state, says := string(s.state), "–"
	if s.waits != "" {
		state = "waits: " + s.waits + "; then " + state
	}
	if s.detail != "" {
		says = s.kind + ": " + s.detail
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s | %d |", knob, what, over, state, says, s.charged)
}
