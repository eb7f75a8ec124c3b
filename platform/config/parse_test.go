package config_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/config"
)

type inner struct {
	MaxConns int32         `default:"10" help:"Connections."`
	DSN      config.Secret `help:"A secret." placeholder:"DSN"`
}

type settings struct {
	Listen   string         `default:"127.0.0.1:7860" help:"Where to listen."`
	Grace    time.Duration  `default:"5s" help:"How long to drain."`
	Share    float64        `default:"0.5" help:"A share."`
	Allow    []netip.Prefix `help:"Networks." placeholder:"CIDR,..."`
	Ports    []uint16       `help:"Ports."`
	Words    words          `help:"Words."`
	Log      bool           `default:"true" help:"Whether to log."`
	Loud     bool           `help:"Whether to be loud."`
	Form     string         `default:"json" enum:"json,text" help:"A form."`
	S3Listen string         `help:"Where else."`
	PIDFile  string         `help:"A file."`
	FFmpeg   string         `name:"ffmpeg" default:"ffmpeg" help:"A program."`
	JSON     bool           `flag:"only" help:"How to answer."`
	DB       inner          `embed:"" prefix:"db-"`
	Second   second         `embed:""`
	Hidden   int            `config:"-"`
}

// second has a setting that the first struct has, too.
type second struct {
	Grace time.Duration `default:"5s" help:"How long to drain."`
}

type words []string

func (w *words) UnmarshalText(b []byte) error {
	*w = nil
	for one := range bytes.SplitSeq(b, []byte(",")) {
		*w = append(*w, string(one))
	}
	return nil
}

func (s *settings) Validate() error {
	if s.Grace < 0 {
		return fmt.Errorf("grace is %s", s.Grace)
	}
	return nil
}

type result struct {
	settings settings
	unread   []string
	out      string
	err      error
}

func parse(env []string, args ...string) (r result) {
	var out bytes.Buffer
	r.unread, r.err = config.Parse(&r.settings, config.Source{Name: "test", Args: args, Env: env, Stdout: &out})
	r.out = out.String()
	return r
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "voicemill.yaml")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func TestFlagWinsOverVariableWinsOverFileWinsOverDefault(t *testing.T) {
	t.Parallel()
	path := file(t, "listen: from.file:1\nform: text\ngrace: 9s\nshare: 1\n")
	env := []string{"VOICEMILL_CONFIG=" + path, "VOICEMILL_LISTEN=from.variable:1", "VOICEMILL_FORM=json", "VOICEMILL_DB_DSN=hidden", "PATH=x"}
	r := parse(env, "--listen", "from.flag:1", "--ports=1", "--ports=2,3", "--no-log", "--loud")
	require.NoError(t, r.err)
	require.Empty(t, r.unread)
	s := r.settings
	require.Equal(t, "from.flag:1", s.Listen)
	require.Equal(t, "json", s.Form)
	require.Equal(t, 9*time.Second, s.Grace)
	require.Equal(t, 9*time.Second, s.Second.Grace) // one setting, two fields
	require.InDelta(t, 1.0, s.Share, 0)
	require.Equal(t, int32(10), s.DB.MaxConns)
	require.Equal(t, "hidden", s.DB.DSN.Reveal())
	require.Equal(t, []uint16{1, 2, 3}, s.Ports)
	require.False(t, s.Log)
	require.True(t, s.Loud)
	require.Equal(t, "ffmpeg", s.FFmpeg)
	require.Empty(t, parse([]string{"VOICEMILL_FFMPEG="}).settings.FFmpeg)
	require.Equal(t, "other:1", parse(env, "--config", file(t, "s3-listen: other:1")).settings.S3Listen)
}

func TestAFileHasListsAsListsOrAsWords(t *testing.T) {
	t.Parallel()
	for _, content := range []string{
		"allow: 10.0.0.0/8, fd00::/8\nwords: one,two\nlog: false\n",
		"allow:\n  - 10.0.0.0/8\n  - fd00::/8\nwords: [one, two]\nlog: false\n",
	} {
		r := parse(nil, "--config="+file(t, content))
		require.NoError(t, r.err)
		require.Equal(t, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}, r.settings.Allow)
		require.Equal(t, words{"one", "two"}, r.settings.Words)
		require.False(t, r.settings.Log)
	}
	require.NoError(t, parse(nil, "--config="+file(t, "# nothing\n")).err)
}

func TestAFileThatCannotBeReadIsToldByKeyAndLine(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		"grace: 5s\nlisten-on: x\n":   "voicemill.yaml:2: listen-on: no setting is called so",
		"\n\ndb-max-conns: many\n":    "voicemill.yaml:3: db-max-conns: want a number",
		"db-max-conns: 99999999999\n": "voicemill.yaml:1: db-max-conns: ",
		"grace: 5\n":                  "voicemill.yaml:1: grace: ",
		"log: 1\n":                    "voicemill.yaml:1: log: want true or false",
		"form: xml\n":                 `voicemill.yaml:1: form: "xml" is not one of json, text`,
		"listen: [a, b]\n":            "voicemill.yaml:1: listen: is a list; want a text",
		"db:\n  max-conns: 1\n":       "voicemill.yaml:1: db: no setting",
		"allow:\n  a: b\n":            "voicemill.yaml:1: allow: has lines below it; want a list",
		"listen:\n":                   "voicemill.yaml:1: listen: has no value",
		"listen: a\nlisten: b\n":      "listen: stands at ",
		"json: true\n":                "json: no setting",
		"config: x\n":                 "config: no setting",
		"- a\n":                       "voicemill.yaml:1: want lines of the form",
		"listen: 'a\n":                "voicemill.yaml: ",
		"words: [[a]]\n":              "words: an item",
		"listen: x\nno: 1\ngrace: x\nalso-not: 1\n": "voicemill.yaml:4: also-not",
	} {
		r := parse(nil, "--config="+file(t, content))
		require.ErrorContains(t, r.err, want, content)
	}
	require.ErrorContains(t, parse(nil, "--config=/does/not/exist").err, "/does/not/exist")
	require.ErrorContains(t, parse(nil, "--config="+file(t, string(bytes.Repeat([]byte("#\n"), 1<<20)))).err, "more than")
}

func TestBadFlagsAndVariablesAreNamed(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"-unknown": {"--unknown=1"}, "--db-max-conns": {"--db-max-conns=many"}, "--grace": {"--grace=soon"}, `"serve"`: {"serve"},
		"--allow": {"--allow=10.0.0.1"}, "--form": {"--form=xml"}, "--ports": {"--ports=70000"},
	} {
		r := parse(nil, args...)
		require.ErrorContains(t, r.err, want)
		require.ErrorIs(t, r.err, config.ErrUsage)
	}
	r := parse([]string{"VOICEMILL_DB_MAX_CONNS=x", "VOICEMILL_SHARE=y"})
	require.ErrorContains(t, r.err, "VOICEMILL_DB_MAX_CONNS")
	require.ErrorContains(t, r.err, "VOICEMILL_SHARE")
	require.NotErrorIs(t, r.err, config.ErrUsage)
	require.ErrorContains(t, parse(nil, "--grace=-1s").err, "grace is -1s")
}

func TestVariablesThatAreNoSettingAreToldAndAreAnErrorOfPrintConfig(t *testing.T) {
	t.Parallel()
	env := []string{"VOICEMILL_MAX_CONN=1", "VOICEMILL_HIDDEN=1", "VOICEMILL_JSON=1", "VOICEMILL_URL=x", "VOICEMILL_KEY=x", "OTHER=1"}
	r := parse(env)
	require.NoError(t, r.err)
	require.Equal(t, []string{"VOICEMILL_HIDDEN", "VOICEMILL_JSON", "VOICEMILL_MAX_CONN"}, r.unread)
	r = parse(env, "--print-config")
	require.ErrorContains(t, r.err, "VOICEMILL_HIDDEN, VOICEMILL_JSON, VOICEMILL_MAX_CONN")
	require.Empty(t, r.out)

	var log bytes.Buffer
	config.WarnUnread(context.Background(), slog.New(slog.NewTextHandler(&log, nil)), []string{"VOICEMILL_X"})
	require.Contains(t, log.String(), "level=WARN")
	require.Contains(t, log.String(), "VOICEMILL_X")
}

func TestPrintConfigSaysWhereEachSettingComesFromAndNoSecret(t *testing.T) {
	t.Parallel()
	path := file(t, "grace: 9s\nlisten: nats://me:pass@host:1\n")
	r := parse([]string{"VOICEMILL_DB_DSN=hunter2", "VOICEMILL_SHARE=0.25"}, "--config="+path, "--print-config", "--loud", "--ports=1,2")
	require.ErrorIs(t, r.err, config.ErrDone)
	for _, line := range []string{
		"listen: nats://REDACTED@host:1 # " + path + ":2\n", "grace: 9s # " + path + ":1\n", "share: 0.25 # VOICEMILL_SHARE\n",
		"db-dsn: REDACTED # VOICEMILL_DB_DSN\n", "loud: true # flag\n", "db-max-conns: 10 # default\n", `pid-file: "" # default` + "\n", "ports: 1,2 # flag\n",
	} {
		require.Contains(t, r.out, line)
	}
	require.NotContains(t, r.out, "hunter2")
	require.NotContains(t, r.out, "json:")
	require.NoError(t, parse(nil, "--config="+file(t, r.out)).err, "what is printed can be read")
	require.ErrorContains(t, parse(nil, "--print-config", "--grace=-1s").err, "grace is -1s")
}

func TestHelpNamesEveryFlagAndIsNotAFailure(t *testing.T) {
	t.Parallel()
	r := parse(nil, "--help")
	require.ErrorIs(t, r.err, config.ErrDone)
	require.Contains(t, r.out, "--db-max-conns=10\n        Connections. ($VOICEMILL_DB_MAX_CONNS)")
	require.Contains(t, r.out, "--allow=CIDR,...")
	require.Contains(t, r.out, "--[no-]log\n")
	require.Contains(t, r.out, "--print-config\n")
}

func TestFieldsOfOneNameMustAgree(t *testing.T) {
	t.Parallel()
	_, err := config.Describe(&struct {
		A struct {
			Grace time.Duration `default:"1s"`
		} `embed:""`
		Grace time.Duration `default:"2s"`
	}{})
	require.ErrorContains(t, err, "--grace")
	require.NotErrorIs(t, err, config.ErrUsage)
}
